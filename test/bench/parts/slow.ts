import { quantile } from '../../faults/load.ts'
import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { slowMs } from '../documents.ts'
import { closedLoop } from '../load.ts'
import { cpuMicrosOf } from '../machine.ts'
import { round, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'

const connections = 64

/** Measures how many concurrent calls the service makes to a slow COS, and the time that it adds. */
export const slow: Part = async bench => {
  const { lengths: { warmUpMs, roundMs, leadMs }, servers: [service] } = bench
  const cpuMicrosSoFar = () => cpuMicrosOf([service.pid])
  const requests = await requestsOf(service, 'slow')
  const load = async (leadMs: number, measuredMs: number) =>
    await closedLoop([requests], { connections, leadMs, measuredMs, cpuMicrosSoFar })
  await load(warmUpMs, 0)
  const measured = await interleaved(bench, [service], async () => await load(leadMs + 3 * slowMs, roundMs))
  const results = measured.flatMap(({ results }) => results)
  const possible = connections / (slowMs / 1_000)
  const perSecond = results.map(({ responses, seconds }) => responses / seconds)
  const quantiles = (q: number) => results.map(({ latencies }) => quantile(latencies, q))
  return '## A slow COS\n\n' +
    `Its responses take ${slowMs} ms for ${connections} callers: ${round(possible)} GET/s are possible.\n\n` +
    table(['GET/s', 'of what is possible', 'p50 ms', 'p99 ms'], [[
      spread(perSecond),
      spread(perSecond.map(each => each / possible), 3),
      spread(quantiles(0.5), 1),
      spread(quantiles(0.99), 1)
    ]])
}
