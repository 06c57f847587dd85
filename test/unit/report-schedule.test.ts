import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { linkToReport } from '../../src/routes/report-link.ts'
import { namedSource, sourceOf } from '../../src/reports/destination.ts'
import { ageSecondsOf, reportTag, stalenessOf } from '../../src/reports/reports.ts'
import { dayBeforeAnyInterval, isNewerDue, recentDays, scheduleOf } from '../../src/reports/schedule.ts'
import { createStreamSlots } from '../../src/reports/stream-slots.ts'
import { fromObjectListXml } from '../../src/cos/xml/object-list.ts'

const daySeconds = 86_400
const inventory = { bucket: 'examplebucket-1250000000', id: 'daily-report' }
const configuration = {
  Id: 'daily-report',
  IsEnabled: true,
  Schedule: { Frequency: 'Daily' },
  Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Format: 'CSV', Prefix: 'list1' } }
}

t.test('scheduleOf knows when reports of enabled configurations are stale', async t => {
  for (const [frequency, days] of [['Daily', 2], ['Weekly', 8], ['Monthly', 32]] as const) {
    const schedule = scheduleOf({ ...configuration, Schedule: { Frequency: frequency } })
    t.strictSame(schedule, { frequency, staleAfterSeconds: days * daySeconds })
  }
  t.equal(scheduleOf({ ...configuration, IsEnabled: false }), undefined)
  t.equal(scheduleOf({ Id: 'a', IsEnabled: true }), undefined)
  t.equal(scheduleOf({ ...configuration, Schedule: { Frequency: 'Hourly' } }), undefined)
})

t.test('recentDays are today and yesterday in UTC and in China', async t => {
  t.strictSame(recentDays(Date.UTC(2026, 10, 20, 3)), ['20261120', '20261119'])
  t.strictSame(recentDays(Date.UTC(2026, 10, 20, 20)), ['20261121', '20261120', '20261119'])
  t.equal(dayBeforeAnyInterval(Date.UTC(2026, 2, 1)), '20260120')
})

t.test('isNewerDue allows until six in the morning in China', async t => {
  const daily = scheduleOf(configuration)
  const at = (day: number, hour: number) => Date.UTC(2026, 10, day, hour)
  t.equal(isNewerDue('20261119', daily, at(19, 21)), false, 'five in the morning of the 20th in China')
  t.equal(isNewerDue('20261119', daily, at(19, 22)), true, 'six')
  t.equal(isNewerDue('20261120', daily, at(20, 3)), false)
  t.equal(isNewerDue(undefined, daily, at(20, 3)), true, 'no report is known')
  t.equal(isNewerDue('20200101', undefined, at(20, 3)), false, 'no schedule is known')
  const weekly = scheduleOf({ ...configuration, Schedule: { Frequency: 'Weekly' } })
  t.equal(isNewerDue('20261113', weekly, at(19, 21)), false)
  t.equal(isNewerDue('20261113', weekly, at(19, 22)), true)
})

t.test('sourceOf reads the destination of a stored configuration', async t => {
  t.match(sourceOf(inventory, configuration), {
    id: 'daily-report', bucket: 'reports-1250000000', region: 'ap-guangzhou', folder: 'list1/1250000000/examplebucket/daily-report', isEnabled: true
  })
  const { COSBucketDestination } = configuration.Destination
  const to = (change: object) =>
    ({ ...configuration, Destination: { COSBucketDestination: { ...COSBucketDestination, ...change } } })
  t.equal(sourceOf(inventory, to({ Prefix: undefined })).folder, '1250000000/examplebucket/daily-report')
  for (const Bucket of ['', 'reports-1250000000', 'qcs::cos:evil.example/::reports-1250000000', 'qcs::cos:ap-guangzhou::Reports', `qcs::cos:ap-guangzhou::${'a'.repeat(60)}-1250`]) {
    t.throws(() => sourceOf(inventory, to({ Bucket })), { code: 'ReportUnsupported' }, Bucket)
  }
  for (const Prefix of ['..', 'a/../b', './a', '/a', 'a//b']) t.throws(() => sourceOf(inventory, to({ Prefix })), { code: 'ReportUnsupported' }, Prefix)
  t.throws(() => sourceOf(inventory, { Id: 'a' }), { code: 'ReportUnsupported' })
})

t.test('the entity tag of a report covers manifest, staleness and completeness, not age', async t => {
  const source = sourceOf(inventory, configuration)
  const report = { date: '20261120', manifest: { etag: '"a"', size: 1, modifiedAt: Date.UTC(2026, 10, 20) }, hasChecksum: true }
  const soon = report.manifest.modifiedAt + 1_000
  const late = report.manifest.modifiedAt + 2 * daySeconds * 1_000
  const tag = reportTag(report, source, soon)
  t.match(tag, /^"[\w-]{27}"$/)
  t.equal(reportTag(report, source, late), tag, 'not stale after exactly two days')
  t.not(reportTag(report, source, late + 1_000), tag, 'stale')
  t.not(reportTag({ ...report, hasChecksum: false }, source, soon), tag)
  t.not(reportTag({ ...report, manifest: { ...report.manifest, etag: '"b"' } }, source, soon), tag)
  t.strictSame(stalenessOf(report.manifest, source, late + 1_000), { isStale: true, afterSeconds: 172_800 })
  const named = namedSource(inventory, { bucket: 'reports-1250000000', prefix: 'list1', region: undefined })
  t.equal(stalenessOf(report.manifest, named, late), undefined, 'nothing is said without a configuration')
  t.equal(ageSecondsOf(report.manifest, report.manifest.modifiedAt - 5_000), 0, 'the clock of COS is ahead')
})

t.test('createStreamSlots limits streams in all and for each caller', async t => {
  const slots = createStreamSlots(3, () => 0)
  const [first, second] = [slots.take('a'), slots.take('a')]
  t.throws(() => slots.take('a'), { code: 'Overloaded', retryAfterSeconds: 10 })
  const third = slots.take('b')
  t.throws(() => slots.take('c'), { code: 'Overloaded' })
  t.equal(slots.taken(), 3)
  second()
  first()
  slots.take('a')()
  third()
  t.equal(slots.taken(), 0)
})

t.test('a stream pauses longer while requests that are not streams are in flight', async t => {
  let inFlight = 4
  const slots = createStreamSlots(4, () => inFlight)
  const ends = ['a', 'b', 'c', 'd'].map(caller => slots.take(caller))
  const fewIterations = async () => {
    for (let count = 0; count < 5; count++) await setImmediate()
  }
  t.equal(await Promise.race([slots.pause().then(() => 'paused'), fewIterations()]), 'paused')
  inFlight = 5
  const startedAt = performance.now()
  await slots.pause()
  t.ok(performance.now() - startedAt > 2, 'the pause lasts a millisecond for each stream')
  for (const end of ends) end()
})

const page = (items: string, end = '<IsTruncated>false</IsTruncated>') => Buffer.from(`<ListBucketResult>${items}${end}</ListBucketResult>`)
const item = (key: string, more = '<ETag>"a"</ETag>') =>
  `<Contents><Key>${key}</Key><LastModified>2026-11-20T02:41:07.000Z</LastModified>${more}<Size>10</Size></Contents>`

t.test('fromObjectListXml reads pages of GET Bucket', async t => {
  t.strictSame(await fromObjectListXml(page(item('a%20b%2Fc') + item('d+e', '<ETag>b</ETag>'))), {
    objects: [
      { keys: ['a b/c', 'a b/c'], etag: '"a"', size: 10, modifiedAt: Date.UTC(2026, 10, 20, 2, 41, 7) },
      { keys: ['d+e', 'd e'], etag: '"b"', size: 10, modifiedAt: Date.UTC(2026, 10, 20, 2, 41, 7) }
    ],
    nextMarker: undefined
  })
  t.strictSame(await fromObjectListXml(page('', '<IsTruncated>True</IsTruncated><NextMarker>a%2Fb</NextMarker>')), { objects: [], nextMarker: ['a/b', 'a/b'] })
  for (const [name, xml] of [
    ['no end', page('', '')], ['no marker', page('', '<IsTruncated>true</IsTruncated>')],
    ['a marker', page('', '<IsTruncated>true</IsTruncated><NextMarker>%</NextMarker>')],
    ['a size', page(item('a').replace('10', 'x'))], ['a date', page(item('a').replace('2026', 'x'))], ['a root', Buffer.from('<A/>')]
  ] as const) await t.rejects(fromObjectListXml(xml), { name: 'XmlError' }, name)
  t.strictSame(await fromObjectListXml(page(item('%zz') + item('d'))), await fromObjectListXml(page(item('d'))), 'a malformed key')
})

t.test('linkToReport names the destination of a one-time job', async t => {
  const link = linkToReport(inventory, { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Prefix: 'a b/+&\r\n"清' }, 'ap-guangzhou')
  t.equal(link, '</buckets/examplebucket-1250000000/inventories/daily-report/reports/latest?destination=reports-1250000000' +
    '&prefix=a%20b%2F%2B%26%0D%0A%22%E6%B8%85&region=ap-guangzhou>; rel="related"')
  t.notMatch(linkToReport(inventory, { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000' }, undefined), /prefix|region/)
})
