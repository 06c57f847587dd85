import { quantile } from '../../faults/load.ts'
import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { openLoop } from '../load.ts'
import { ratio, round, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'

const perSecond = 500

/** What callers wait for GET of one configuration while the server is far from busy. */
export const latency: Part = async bench => {
  const { lengths: { warmUpMs, latencyMs, leadMs }, servers } = bench
  const subjects = await Promise.all(servers.map(async server => ({ server, requests: await requestsOf(server, 'get') })))
  for (const { requests } of subjects) await openLoop(requests, { perSecond, leadMs: 0, measuredMs: warmUpMs })
  const measured = await interleaved(bench, subjects, ({ requests }) =>
    openLoop(requests, { perSecond, leadMs, measuredMs: latencyMs }))
  const figures = measured.map(({ subject: { server: { name } }, results }) => ({
    name,
    p50: results.map(latencies => 1_000 * quantile(latencies, 0.5)),
    p99: results.map(latencies => 1_000 * quantile(latencies, 0.99))
  }))
  const [service] = figures as [typeof figures[number]]
  const rows = figures.map(({ name, p50, p99 }) =>
    [name, spread(p50), spread(p99), ratio(service.p50, p50), ratio(service.p99, p99)])
  return `## Latency at ${round(perSecond)} GET/s\n\nMicroseconds from when a request was due.\n\n` +
    table(['server', 'p50 µs', 'p99 µs', 'service ÷ it: p50', 'service ÷ it: p99'], rows)
}
