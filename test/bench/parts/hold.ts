import { quantile } from '../../faults/load.ts'
import type { Bench, Part } from '../bench.ts'
import { connect, send } from '../load.ts'
import { median, round, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import type { Operation } from '../requests.ts'

/**
 * How long one page holds the event loop, and with it everybody else: `/livez` is asked over and over on a connection
 * of its own while a page is on its way. Without a pause in between, because a probe that is sent after the event loop
 * was taken would find the time shorter than it is.
 */
export const hold: Part = async bench => {
  const { rows, idle } = await bench.disturbance.during(() => measure(bench))
  return '## How long one LIST holds the event loop\n\nThe longest wait of `/livez` while the service reads a page, ' +
    `${bench.lengths.holds} times.\n\n` +
    table(['page', 'median ms', 'p90 ms', 'max ms'], [idle, ...rows].map(({ name, waits }) =>
      [name, round(median(waits), 2), round(quantile(waits, 0.9), 2), round(Math.max(...waits), 2)]))
}

async function measure ({ lengths: { holds }, servers: [service] }: Bench) {
  // Pages, and probes without any, that come first and are not looked at.
  const warmUps = Math.ceil(holds / 5)
  const livez = await requestsOf(service, 'livez')
  const prober = connect(livez)
  const probe = () => send(prober, livez.at(0))

  async function longestWaits (operation: Operation): Promise<number[]> {
    const pages = await requestsOf(service, operation)
    const caller = connect(pages)
    const waits: number[] = []
    for (let index = 0; index < warmUps + holds; index += 1) {
      const over = new AbortController()
      const page = send(caller, pages.at(index)).finally(() => { over.abort() })
      let longest = 0
      while (!over.signal.aborted) longest = Math.max(longest, await probe())
      await page
      waits.push(longest)
    }
    await caller.destroy()
    return waits.slice(warmUps)
  }

  const waits: number[] = []
  for (let index = 0; index < warmUps + 10 * holds; index += 1) waits.push(await probe())
  const idle = { name: 'none (every probe)', waits: waits.slice(warmUps) }
  const rows = [
    { name: '100 of 1 KiB that do not change', waits: await longestWaits('list') },
    { name: '100 of 1 KiB that have changed', waits: await longestWaits('changedList') },
    { name: '100 of 8 KiB', waits: await longestWaits('rich') }
  ]
  await prober.destroy()
  return { idle, rows }
}
