import { Registry } from 'prom-client'
import t from 'tap'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import { ServiceError } from '../../src/errors.ts'
import { createInstruments } from '../../src/metrics/instruments.ts'
import { reportMetrics } from '../../src/metrics/report-metrics.ts'
import type { CheckedReport } from '../../src/metrics/report-metrics.ts'
import { createReportCheck, watchReports } from '../../src/reports/report-watch.ts'

const bucket = 'examplebucket-1250000000'
const nowMs = Date.UTC(2026, 10, 20, 12)

function configurationOf (Id: string, Frequency = 'Daily') {
  return {
    Id,
    IsEnabled: true,
    Schedule: { Frequency },
    Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Format: 'CSV' } }
  }
}

/** Returns the dependencies of a check, and what it published. */
function setUp (
  ids: () => string[], fail: (id: string) => Error | undefined = () => undefined, storageSize?: string
) {
  const published: unknown[] = []
  const lines: object[] = []
  const manifest = { etag: '"a"', size: 1, modifiedAt: nowMs - 3_600_000 }
  const report = { date: '20261120', manifest, hasChecksum: true }
  const content = { filterObjectCount: 5, filterStorageSize: storageSize, fields: [], files: [], fileFormat: 'CSV', listObjectCount: 5, listStorageSize: undefined }
  const failing = (id: string) => {
    const error = fail(id)
    if (error !== undefined) throw error
  }
  const dependencies = {
    inventories: {
      get: async (_: unknown, id: string) => ({ value: { configuration: configurationOf(id) }, cos: {} }),
      listAll: async () =>
        ({ value: { documents: ids().map(id => ({ configuration: configurationOf(id) })) }, cos: {} })
    },
    regions: { resolve: async () => { failing('region'); return { region: 'ap-guangzhou', isLookedUp: false } } },
    reports: {
      list: async () => ({ value: [report], cos: {} }),
      latest: async (_: unknown, { id }: { id: string }) => { failing(id); return { value: report, cos: {} } },
      read: async () => ({ value: { ...report, content }, cos: {} })
    },
    metrics: {
      reportChecked (of: string, id: string, checked: CheckedReport | undefined) {
        published.push([of, id, checked && { ...checked, isStale: checked.isStale() }])
      },
      reportCheckFailed: (of: string) => { published.push(`failed ${of}`) }
    },
    log: { debug () {}, warn (fields: object) { lines.push(fields) } },
    deadlineMs: 1_000,
    steadyNow: () => 0,
    now: () => nowMs
  }
  return { dependencies: dependencies as unknown as Parameters<typeof createReportCheck>[0], published, lines }
}

const deliveredAt = nowMs - 3_600_000
const twoDaysMs = 2 * 86_400_000
const values = { deliveredAt, objects: 5, bytes: undefined, isStale: false }

t.test('a check publishes the latest report of a configuration', async t => {
  const { dependencies, published } = setUp(() => [], undefined, '18446744073709551616')
  await createReportCheck(dependencies, new CancelSource())({ bucket, id: 'daily' })
  t.strictSame(published, [[bucket, 'daily', { ...values, bytes: 18446744073709552000 }]])
})

t.test('a check of all configurations goes on after a failure and forgets deleted ones', async t => {
  let ids = ['a', 'b', 'c']
  const { dependencies, published, lines } = setUp(() => ids, id => id === 'b'
    ? new ServiceError('ReportCorrupt', 'The report cannot be used.')
    : undefined)
  const check = createReportCheck(dependencies, new CancelSource())
  await check({ bucket, id: '*' })
  t.strictSame(published, [[bucket, 'a', values], `failed ${bucket}`, [bucket, 'c', values]])
  t.strictSame(lines, [{ bucket, id: 'b', code: 'ReportCorrupt', detail: 'The report cannot be used.' }])
  published.length = 0
  ids = ['c']
  await check({ bucket, id: '*' })
  t.strictSame(published, [[bucket, 'a', undefined], [bucket, 'b', undefined], [bucket, 'c', values]])
})

t.test('a configuration without a report becomes stale when one was due', async t => {
  let [atMs, isMissing] = [nowMs, true]
  const { dependencies, published, lines } = setUp(() => [], id => isMissing && id === 'a'
    ? new ServiceError('ReportNotFound', 'There is no report.')
    : undefined)
  const check = createReportCheck({ ...dependencies, now: () => atMs }, new CancelSource())
  const missing = { deliveredAt: undefined, objects: undefined, bytes: undefined, isStale: false }
  await check({ bucket, id: 'a' })
  atMs += twoDaysMs + 1_000
  await check({ bucket, id: 'a' })
  isMissing = false
  await check({ bucket, id: 'a' })
  t.strictSame(published, [
    [bucket, 'a', missing], [bucket, 'a', { ...missing, isStale: true }], [bucket, 'a', { ...values, isStale: true }]
  ])
  t.strictSame(lines, [])
})

t.test('a report that is deleted after it became stale stays stale', async t => {
  let [atMs, isMissing] = [deliveredAt + twoDaysMs + 1_000, false]
  const { dependencies, published } = setUp(() => [], id => isMissing && id === 'a'
    ? new ServiceError('ReportNotFound', 'There is no report.')
    : undefined)
  const check = createReportCheck({ ...dependencies, now: () => atMs }, new CancelSource())
  await check({ bucket, id: 'a' })
  isMissing = true
  atMs += 900_000
  await check({ bucket, id: 'a' })
  t.strictSame(published, [
    [bucket, 'a', { ...values, isStale: true }],
    [bucket, 'a', { deliveredAt: undefined, objects: undefined, bytes: undefined, isStale: true }]
  ])
})

t.test('a disabled configuration is not checked, and a deleted one is forgotten', async t => {
  let [isEnabled, isDeleted] = [true, false]
  const { dependencies, published } = setUp(() => [])
  const get = async (_: unknown, id: string) => {
    if (isDeleted) throw new ServiceError({ code: 'InventoryConfigurationNotFoundError', status: 404, title: 'Not Found' }, '')
    return { value: { configuration: { ...configurationOf(id), IsEnabled: isEnabled } }, cos: {} }
  }
  const check = createReportCheck({ ...dependencies, inventories: { get } as never }, new CancelSource())
  await check({ bucket, id: 'a' })
  isEnabled = false
  await check({ bucket, id: 'a' })
  isEnabled = true
  await check({ bucket, id: 'a' })
  isDeleted = true
  await check({ bucket, id: 'a' })
  t.strictSame(published, [
    [bucket, 'a', values], [bucket, 'a', undefined], [bucket, 'a', values], [bucket, 'a', undefined], `failed ${bucket}`
  ])
})

t.test('a check that cannot find the bucket fails once', async t => {
  const { dependencies, published, lines } = setUp(() => ['a'], id => id === 'region' ? new Error('no region') : undefined)
  await createReportCheck(dependencies, new CancelSource())({ bucket, id: '*' })
  t.strictSame(published, [`failed ${bucket}`])
  t.match(lines, [{ code: 'InternalError', detail: /no region/ }])
})

t.test('a check that is ended publishes and logs nothing more', async t => {
  for (const fails of [false, true]) {
    const ended = new CancelSource()
    const { dependencies, published, lines } = setUp(() => ['a', 'b'], id => {
      if (id !== 'a') return undefined
      ended.cancel()
      return fails ? new Error('closed') : undefined
    })
    await createReportCheck(dependencies, ended)({ bucket, id: '*' })
    t.strictSame([published, lines], [[], []])
  }
})

t.test('watchReports checks at once and ends when it is told to', async t => {
  const { dependencies, published } = setUp(() => [])
  const stop = watchReports([{ bucket, id: 'a' }, { bucket, id: 'b' }], 3_600, {
    ...dependencies,
    metrics: { ...dependencies.metrics, reportChecked: (...args) => { published.push(args); stop() } }
  })
  while (published.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  for (let turn = 0; turn < 10; turn++) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(published.length, 1, 'the second is not checked')
})

t.test('cos_inventory_report_stale is read at each scrape', async t => {
  const registry = new Registry()
  let isStale = false
  const { reportChecked } = reportMetrics(createInstruments(registry))
  const read = async () => /^cos_inventory_report_stale\{.*\} (\d)$/m.exec(await registry.metrics())?.[1]
  reportChecked(bucket, 'a', { ...values, isStale: () => isStale })
  t.equal(await read(), '0')
  isStale = true
  t.equal(await read(), '1')
  reportChecked(bucket, 'a', undefined)
  t.equal(await read(), undefined)
})
