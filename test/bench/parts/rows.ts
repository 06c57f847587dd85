import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { commandOf } from '../build.ts'
import { bucket } from '../documents.ts'
import { cpuMicrosOf, residentMiBOf } from '../machine.ts'
import { onExit, start } from '../processes.ts'
import { ratio, round, spread, table } from '../report.ts'
import { service } from '../servers.ts'

const path = `/buckets/${bucket}/inventories/daily-0000/reports/20261120/rows`

interface Measured {
  /** Rows for each second of wall time. */
  rate: number
  /** Rows for each second of CPU time. */
  perCoreSecond: number
  /** Growth of the resident memory in MiB; undefined for programs that end. */
  growth: number | undefined
}

/** Measures rows of a report with nine quoted columns, beside programs that read the same file from the disk. */
export const rows: Part = async bench => {
  const { cores, lengths: { reportRows } } = bench
  const folder = mkdtempSync(join(tmpdir(), 'bench-report-'))
  onExit(() => { rmSync(folder, { recursive: true, force: true }) })
  const file = join(folder, 'report.csv.gz')
  const upstream = await start({
    command: commandOf('report-upstream'),
    environment: { REPORT_ROWS: String(reportRows), REPORT_FILE: file },
    cores: cores?.load,
    ready: /listening at http:\/\/(\S+)/
  })
  const server = await service.start(upstream.captured, cores?.server)

  async function stream (): Promise<Measured> {
    const before = { cpu: cpuMicrosOf([server.pid]), at: performance.now(), memory: residentMiBOf(server.pid) }
    const { statusCode, body } = await request(server.origin + path, { headers: server.headers })
    let lines = 0
    let growth = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      lines += chunk.reduce((sum, byte) => sum + (byte === 0x0A ? 1 : 0), 0)
      growth = Math.max(growth, residentMiBOf(server.pid) - before.memory)
    }
    if (statusCode !== 200 || lines !== reportRows) throw new Error(`the service sent ${lines} rows with status ${statusCode}`)
    return { ...ratesOf(performance.now() - before.at, cpuMicrosOf([server.pid]) - before.cpu), growth }
  }

  async function run (command: string[]): Promise<Measured> {
    const [name = '', ...args] = cores === undefined ? command : ['taskset', '-c', cores.server, ...command]
    const startedAt = performance.now()
    await once(spawn(name, args, { stdio: 'ignore' }), 'exit')
    const ms = performance.now() - startedAt
    // The program has a core for itself and never waits.
    return { ...ratesOf(ms, ms * 1_000), growth: undefined }
  }

  function ratesOf (ms: number, cpuMicros: number): Pick<Measured, 'rate' | 'perCoreSecond'> {
    return { rate: reportRows / ms * 1_000, perCoreSecond: reportRows / cpuMicros * 1e6 }
  }

  const subjects = [
    { name: 'service', measure: stream },
    { name: 'csv-parse', measure: () => run(commandOf('peers/csv-parse-rows').concat(file)) },
    { name: 'zcat \\| wc -l', measure: () => run(['sh', '-c', `zcat ${file} | wc -l`]) }
  ]
  const measured = await interleaved(bench, subjects, ({ measure }) => measure())
  await server.stop()
  await upstream.stop()
  const [own] = measured as [typeof measured[number]]
  const ratesOfOwn = own.results.map(({ rate }) => rate)
  return `## Rows of a report, ${round(reportRows)} with nine quoted columns\n\n` + table(
    ['program', 'rows/s', 'rows per core-second', 'memory growth MiB', 'service ÷ program: rows/s'],
    measured.map(({ subject: { name }, results }) => {
      const rates = results.map(({ rate }) => rate)
      const growths = results.flatMap(({ growth }) => growth ?? [])
      return [
        name, spread(rates), spread(results.map(({ perCoreSecond }) => perCoreSecond)),
        growths.length === 0 ? '' : spread(growths), ratio(ratesOfOwn, rates)
      ]
    }))
}
