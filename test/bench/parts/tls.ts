import { quantile } from '../../faults/load.ts'
import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { closedLoop, sendAll } from '../load.ts'
import { cpuMicrosOf, residentMiBOf } from '../machine.ts'
import { ratio, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import { startService, startTlsUpstream } from '../servers.ts'

const connections = 64

/** Unmeasured requests for each server. Each bucket needs one to have a connection. */
const warmUps = 3_000

/** Values of COS_MAX_IDLE_CONNECTIONS: one connection for each of 1,000 buckets, and a few. */
const limits = [1_000, 16]

/** Measures GET of 1,000 buckets over TLS, with and without connections that are kept. */
export const tls: Part = async bench => {
  const { lengths: { warmUp, leadMs, roundMs }, cores } = bench
  const { upstream, certificateFile } = await startTlsUpstream(cores?.load)
  const subjects = []
  for (const limit of limits) {
    const server = await startService(upstream.captured, cores?.server, {
      COS_SCHEME: 'https', NODE_EXTRA_CA_CERTS: certificateFile, COS_MAX_IDLE_CONNECTIONS: String(limit)
    })
    const requests = await requestsOf(server, 'everyBucket')
    const load = (leadMs: number, measuredMs: number) => closedLoop(
      [requests], { connections, leadMs, measuredMs, cpuMicrosSoFar: () => cpuMicrosOf([server.pid]) })
    await sendAll(requests, connections, 0, warmUps * warmUp)
    subjects.push({ server, limit, load })
  }
  const measured = await interleaved(bench, subjects, ({ load }) => load(leadMs, roundMs))
  const figures = measured.map(({ subject: { server, limit }, results }) => ({
    limit,
    perSecond: results.map(({ responses, seconds }) => responses / seconds),
    cpu: results.map(({ cpuMicros }) => cpuMicros),
    p50: results.map(({ latencies }) => quantile(latencies, 0.5)),
    residentMiB: residentMiBOf(server.pid)
  }))
  await Promise.all([upstream, ...subjects.map(({ server }) => server)].map(each => each.stop()))
  const [kept] = figures as [typeof figures[number]]
  return `## GET of 1,000 buckets over TLS, ${connections} callers\n\n` + table(
    ['COS_MAX_IDLE_CONNECTIONS', 'GET/s', 'CPU µs/GET', 'p50 ms', 'MiB', 'CPU: kept ÷ this'],
    figures.map(({ limit, perSecond, cpu, p50, residentMiB }) => [
      String(limit), spread(perSecond), spread(cpu), spread(p50, 1), spread([residentMiB]), ratio(kept.cpu, cpu)
    ]))
}
