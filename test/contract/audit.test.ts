import { existsSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import type { AuditRecord } from '../../src/logging/audit-log.ts'
import { createAuditLog } from '../../src/logging/audit-log.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { outputsTo } from '../outputs.ts'
import { at, bucket, configuration, recordingLogger, start, until } from '../start.ts'

const { IsEnabled: _, Schedule: __, ...job } = configuration
const fromCos = { 'x-cos-request-id': 'from-cos', 'content-type': 'application/xml' }

t.test('PUT, POST and DELETE write one audit record each, reads and dry runs none', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything), withKey('reader', [])])
  const { call, audits, emulator } = await start(t, { environment: { ...environment, LOG_LEVEL: 'silent' } })
  const last = () => audits().at(-1)
  const put = await call('PUT', at('a'), configuration, { ...as('admin'), 'x-request-id': 'first' })
  t.match(last(), {
    level: 35,
    type: 'audit',
    time: Number,
    requestId: 'first',
    caller: 'admin',
    address: '127.0.0.1',
    action: 'cos:PutBucketInventory',
    bucket,
    id: 'a',
    region: 'ap-guangzhou',
    destinations: [bucket],
    outcome: 'success',
    status: 204,
    cosRequestId: put.headers['x-cos-request-id']
  })
  await call('POST', at('b'), job, as('admin'))
  t.match(last(), { action: 'cos:PostBucketInventory', id: 'b', outcome: 'success', status: 202 })
  await call('DELETE', at('a', '?region=ap-shanghai'), undefined, as('admin'))
  t.match(last(), { action: 'cos:DeleteBucketInventory', region: 'ap-shanghai', outcome: 'failure', status: 404, code: 'NoSuchBucket', cosRequestId: String })
  await call('PUT', at('a'), configuration)
  t.match(last(), { caller: null, outcome: 'denied', status: 401, code: 'Unauthenticated', destinations: [] })
  await call('PUT', at('a'), configuration, as('reader'))
  t.match(last(), { caller: 'reader', outcome: 'denied', status: 403, code: 'CallerNotAllowed' })
  await call('PUT', at('a'), { Colour: 'red' }, as('admin'))
  t.match(last(), { outcome: 'failure', status: 400, code: 'ValidationFailed' })
  emulator.addFault({ kind: 'reset', times: 1 })
  await call('PUT', at('a'), configuration, as('admin'))
  t.match(last(), { outcome: 'unknown', status: 502, code: 'UpstreamUnreachable' })
  emulator.addFault({ kind: 'raw', status: 403, headers: fromCos, body: '<Error><Code>ExpiredToken</Code></Error>', times: 2 })
  await call('PUT', at('a'), configuration, as('admin'))
  t.match(last(), { outcome: 'failure', status: 502, code: 'UpstreamCredentialsRejected', cosRequestId: 'from-cos' })
  t.equal(audits().length, 8)

  for (const [method, path, body] of [
    ['GET', at('a')], ['HEAD', at('a')], ['GET', `/buckets/${bucket}/inventories`], ['PUT', at('a', '?dry-run=true'), configuration],
    ['OPTIONS', at('a')], ['GET', '/livez']
  ] as const) await call(method, path, body, as('admin'))
  t.equal(audits().length, 8, 'reads and dry runs write no record')
  await call('DELETE', at('a', '?dry-run=true'), undefined, as('reader'))
  t.match(last(), { action: 'cos:DeleteBucketInventory', outcome: 'denied' }, 'DELETE has no dry run, so the attempt is recorded')
  t.notMatch(JSON.stringify(audits()), 'myPrefix', 'records do not contain the body')
})

t.test('PUT is audited as success when its caller disconnected', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { url, audits, emulator, logs } = await start(t, { environment })
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const body = JSON.stringify(configuration)
  const { authorization } = as('admin')
  socket.write(`PUT ${at('left')} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  await until(() => emulator.connections > 0)
  socket.destroy()
  await until(() => audits().length > 0)
  t.match(audits(), [{ caller: 'admin', id: 'left', outcome: 'success', status: 204, address: '127.0.0.1' }])
  t.match(logs(), 'caller disconnected')
})

t.test('PUT is audited as unknown when the shutdown grace period ends first', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { call, audits, emulator, service } = await start(t, { environment: { ...environment, SHUTDOWN_GRACE_MS: '50' } })
  emulator.addFault({ kind: 'hang', times: 1 })
  const interrupted = call('PUT', at('cut'), configuration, as('admin')).catch(() => {})
  await until(() => emulator.connections > 0)
  t.equal(await service.stop(), false)
  t.match(audits(), [{ caller: 'admin', id: 'cut', outcome: 'unknown', status: undefined }])
  emulator.clearFaults()
  await emulator.close()
  await interrupted
})

t.test('audit records go to a new file after rotation, to the log when writing fails', async t => {
  const { logger, logs } = recordingLogger(t)
  const outputs = outputsTo(() => { t.fail('a record was written to stdout') })
  const path = `${t.testdir({})}/audit.log`
  const audit = createAuditLog(path, outputs, logger)
  t.equal(statSync(path).mode & 0o777, 0o600)
  const record = (id: string): AuditRecord => ({
    requestId: 'r',
    caller: null,
    address: '::1',
    action: 'cos:PutBucketInventory',
    bucket,
    id,
    region: undefined,
    destinations: [],
    outcome: 'denied',
    status: 401,
    code: 'Unauthenticated',
    cosRequestId: undefined
  })
  const idsIn = (file: string) => readFileSync(file, 'utf8').trimEnd().split('\n').map(line => (JSON.parse(line) as AuditRecord).id)
  audit.record(record('1'))
  audit.record(record('2'))
  renameSync(path, `${path}.1`)
  audit.record(record('3'))
  t.strictSame([idsIn(`${path}.1`), idsIn(path)], [['1', '2'], ['3']])
  const unwritable = createAuditLog(`${t.testdir({ dir: {} })}/dir/audit.log`, outputs, logger)
  t.testdir({})
  unwritable.record(record('4'))
  t.match(logs(), /"code":"ENOENT","record":\{.*"id":"4"/, 'the service log contains the record')
})

t.test('isWritable writes nothing, and the file gets its lines without another record', async t => {
  const { logger } = recordingLogger(t)
  const path = `${t.testdir({})}/audit.log`
  const audit = createAuditLog(path, outputsTo(() => {}), logger)
  rmSync(path)
  symlinkSync('/dev/full', path)
  audit.record({ id: 'kept', action: 'cos:PutBucketInventory' } as AuditRecord)
  rmSync(path)
  t.equal(audit.isWritable(), false)
  t.notOk(existsSync(path))
  await until(() => audit.isWritable())
  t.match(recordsIn(path), [{ id: 'kept' }])
})

t.test('audit records go to stderr when AUDIT_LOG is stderr', t => {
  const { logger } = recordingLogger(t)
  const { stdout } = outputsTo(() => { t.fail('a record was written to stdout') })
  let written = ''
  const { stderr } = outputsTo(line => { written += line })
  createAuditLog('stderr', { stdout, stderr }, logger).record({ action: 'cos:PutBucketInventory' } as AuditRecord)
  t.match(JSON.parse(written), { type: 'audit', msg: 'change' })
  t.end()
})

t.test('PUT, PATCH, POST and DELETE return 503 until the audit file is writable', async t => {
  const path = `${t.testdir({})}/audit.log`
  const { call, emulator, logs } = await start(t, { environment: { AUDIT_LOG: path } })
  rmSync(path)
  symlinkSync('/dev/full', path)
  t.equal((await call('PUT', at('first'), configuration)).status, 204)
  t.match(logs(), /"code":"ENOSPC","record":\{.*"id":"first"/)
  const sent = emulator.requests.length
  const patchType = { 'content-type': 'application/merge-patch+json' }
  const changes: Array<[string, string, unknown?, Record<string, string>?]> = [
    ['PUT', at('a'), configuration], ['PATCH', at('a'), '{}', patchType], ['POST', at('a'), job], ['DELETE', at('a')],
    ['PUT', `/buckets/${bucket}/inventories`, { InventoryConfigurations: [] }]
  ]
  for (const change of changes) {
    const { status, headers, json } = await call(...change)
    t.match({ status, headers, json }, {
      status: 503,
      headers: { 'retry-after': '1' },
      json: {
        code: 'AuditLogUnavailable',
        detail: 'The audit log cannot be written, so nothing was sent to COS. Retry in 1 s; if it persists, contact the operator.'
      }
    }, change[0])
  }
  t.equal(emulator.requests.length, sent)
  t.equal((await call('GET', at('first'))).status, 200, 'reads are served')
  t.equal((await call('PUT', at('a', '?dry-run=true'), configuration)).status, 200, 'dry runs are served')
  rmSync(path)
  t.equal((await call('DELETE', at('first'))).status, 204)
  t.strictSame(recordsIn(path).map(({ id, action }) => [id, action]), [
    ['first', 'cos:PutBucketInventory'], ['first', 'cos:DeleteBucketInventory']
  ])
})

t.test('PUT returns 503 and is not sent when the audit file fails after its read', async t => {
  const path = `${t.testdir({})}/audit.log`
  const { call, emulator } = await start(t, { environment: { AUDIT_LOG: path } })
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const waiting = call('PUT', at('a'), configuration, { 'if-none-match': '*' })
  await until(() => emulator.connections > 0)
  rmSync(path)
  symlinkSync('/dev/full', path)
  t.equal((await call('DELETE', at('b', '?region=nowhere'))).status, 400)
  t.match(await waiting, { status: 503, json: { code: 'AuditLogUnavailable' } })
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET'])
})

function recordsIn (path: string): AuditRecord[] {
  const lines = readFileSync(path, 'utf8').split('\n').filter(line => line !== '')
  return lines.map(line => JSON.parse(line) as AuditRecord)
}
