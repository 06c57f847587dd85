import { sendAll } from '../load.ts'
import { residentMiBOf } from '../machine.ts'
import { round, table } from '../report.ts'
import { mixedRequests } from '../requests.ts'
import type { Server } from '../servers.ts'

/** Resident memory of each server, in MiB. */
export function weigh (servers: Server[]): number[] {
  return servers.map(({ pid }) => residentMiBOf(pid))
}

/**
 * What servers hold before the first request and after the last.
 *
 * @param idle what {@link weigh} said of them two seconds after they had started
 */
export function memory (servers: Server[], idle: number[]): string {
  const after = weigh(servers)
  return '## Memory\n\nResident, in MiB: idle, and after the parts above.\n\n' + table(
    ['server', 'idle', 'after the run'],
    servers.map(({ name }, index) => [name, round(idle[index] ?? NaN), round(after[index] ?? NaN)]))
}

/**
 * Resident memory of a server over many requests: GETs, with PUT and LIST among them.
 *
 * @param say takes lines of markdown as soon as there is something to say: it takes minutes
 */
export async function memoryOver (
  server: Server, total: number, step: number, say: (markdown: string) => void
): Promise<void> {
  const requests = await mixedRequests(server)
  say(`\n## Memory over ${round(total)} requests\n`)
  say(table(['requests', 'resident MiB'], [['0', round(residentMiBOf(server.pid))]]))
  for (let sent = 0; sent < total; sent += step) {
    await sendAll(requests, 64, sent, sent + step)
    say(`| ${round(sent + step)} | ${round(residentMiBOf(server.pid))} |`)
  }
}
