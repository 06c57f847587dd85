import { sendAll } from '../load.ts'
import { residentMiBOf } from '../machine.ts'
import { round, table } from '../report.ts'
import { mixedRequests } from '../requests.ts'
import type { Server } from '../servers.ts'

/** Returns the resident memory of each server in MiB. */
export function measureMemory (servers: Server[]): number[] {
  return servers.map(({ pid }) => residentMiBOf(pid))
}

/**
 * Reports the memory of servers before the first request and after the last one.
 *
 * @param idle the result of {@link measureMemory} two seconds after the start
 */
export function memory (servers: Server[], idle: number[]): string {
  const after = measureMemory(servers)
  return '## Memory\n\nResident, in MiB: idle, and after the parts above.\n\n' + table(
    ['server', 'idle', 'after the run'],
    servers.map(({ name }, index) => [name, round(idle[index] ?? NaN), round(after[index] ?? NaN)]))
}

/**
 * Reports the resident memory of a server over many requests: GETs, with some PUT and LIST.
 *
 * @param print prints lines of markdown during the measurement, which takes minutes
 */
export async function memoryOver (
  server: Server, total: number, step: number, print: (markdown: string) => void
): Promise<void> {
  const requests = await mixedRequests(server)
  print(`\n## Memory over ${round(total)} requests\n`)
  print(table(['requests', 'resident MiB'], [['0', round(residentMiBOf(server.pid))]]))
  for (let sent = 0; sent < total; sent += step) {
    await sendAll(requests, 64, sent, sent + step)
    print(`| ${round(sent + step)} | ${round(residentMiBOf(server.pid))} |`)
  }
}
