import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { createMetrics } from '../../src/metrics.ts'

/** Returns metrics of which each has been counted, so that each shows its labels. */
function measuredMetrics () {
  const metrics = createMetrics('1.2.3')
  metrics.started()
  metrics.finished({ method: 'GET', route: '/', status: 404, code: 'NoSuchBucket', caller: 'billing', seconds: 1 })
  metrics.attempted('GetBucketInventory', { class: 'ok', code: '' }, 1)
  metrics.called('GetBucketInventory', 'ok', 1)
  metrics.retried('GetBucketInventory', 'timeout')
  metrics.retryDenied('budget')
  metrics.waited(1)
  metrics.shed('waited')
  metrics.connectionClosed('stalled')
  metrics.rowsSent({ rows: 1, bytes: 1 })
  metrics.reportChecked('b-1', 'a', { deliveredAt: 1, objects: 1, bytes: 1, isStale: () => true })
  metrics.reportChecked('b-1', 'gone', { deliveredAt: 1, objects: undefined, bytes: 1, isStale: () => true })
  metrics.reportChecked('b-1', 'gone', undefined)
  metrics.reportCheckFailed('b-1')
  metrics.addReadings({
    occupation: () => ({ inFlight: 1, waiting: 1, unresponsiveHosts: 1 }),
    connections: () => ({ open: 1, busy: 1 }),
    backlog: () => ({ inFlight: 1, waiting: 1, unsentBytes: 1 }),
    credentials: () => [{ account: 'default', isAvailable: true, expiresAt: 1 }],
    skewMs: () => 1,
    reportStreams: () => 1,
    redisUp: () => true,
    droppedLogLines: () => 1,
    reloads: () => [{ file: 'COS_CREDENTIALS', account: 'default', isCurrent: true, readAt: 1 }],
    isAuditLogWritable: () => true,
    failedAuditWrites: () => 1,
    certificateExpiresAt: () => 1
  })
  return metrics
}

/** Reads name, type and labels of each metric from the Prometheus text format. */
function seriesOf (text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+) (\w+)\n(.*)$/gm)].map(([, name, type, value = '']) => {
    const labels = [...value.matchAll(/[{,](\w+)="/g)].map(([, label]) => label).filter(label => label !== 'le')
    return `${name} ${type} ${labels.sort().join(', ')}`
  })
}

test('docs/observability.md lists every metric of the service with type and labels', async t => {
  const measured = seriesOf(await measuredMetrics().scrape()).filter(each => !/^(?:nodejs|process)_/.test(each))
  const document = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8')
  const listed = [...document.matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\|/gm)]
    .map(([, name, type, labels = '']) => `${name} ${type} ${[...labels.matchAll(/\w+/g)].map(String).sort().join(', ')}`)
  t.ok(listed.length > 20)
  t.strictSame(listed.sort(), measured.sort())
})
