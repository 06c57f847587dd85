import { quantile } from '../../faults/load.ts'
import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { openLoop } from '../load.ts'
import { ratio, round, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'

const perSecond = 500

/** Measures the latency of GET of one configuration at a low load. */
export const latency: Part = async bench => {
  const { lengths: { warmUpMs, latencyMs, leadMs }, servers } = bench
  const subjects = await Promise.all(servers.map(async server => ({ server, requests: await requestsOf(server, 'get') })))
  for (const { requests } of subjects) await openLoop(requests, { perSecond, leadMs: 0, measuredMs: warmUpMs / 2 })
  const measured = await interleaved(bench, subjects, ({ requests }) =>
    openLoop(requests, { perSecond, leadMs, measuredMs: latencyMs }))
  const figures = measured.map(({ subject: { server: { name } }, results }) => ({
    name,
    p50: results.map(latencies => 1_000 * quantile(latencies, 0.5)),
    // One round has too few responses above its p99, so all rounds count together.
    p99: 1_000 * quantile(results.flat(), 0.99)
  }))
  const [service] = figures as [typeof figures[number]]
  const rows = figures.map(({ name, p50, p99 }) =>
    [name, spread(p50), round(p99), ratio(service.p50, p50), round(service.p99 / p99, 2)])
  return `## Latency at ${round(perSecond)} GET/s of 1,000 that do not change\n\nMicroseconds from when a request was due. The sender shares its core ` +
    'with the upstream double, which adds the same time for all servers; p99 is that of all rounds together.\n\n' +
    table(['server', 'p50 µs', 'p99 µs', 'service ÷ server: p50', 'service ÷ server: p99'], rows)
}
