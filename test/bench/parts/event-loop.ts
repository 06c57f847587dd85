import { quantile } from '../../faults/load.ts'
import type { Bench, Part } from '../bench.ts'
import { connect, send } from '../load.ts'
import { median, round, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import type { Operation } from '../requests.ts'

/**
 * Measures how long one page delays the event loop, and with it all other requests. Probes of `/livez` run on another
 * connection while the page is read. There is no pause between them, because a late probe would measure only a part of
 * the delay.
 */
export const eventLoop: Part = async bench => {
  const { rows, idle } = await bench.disturbance.during(() => measure(bench))
  return '## Event loop delay of one LIST\n\nThe longest wait of `/livez` while the service reads a page, ' +
    `${bench.lengths.watchedPages} times.\n\n` +
    table(['page', 'median ms', 'p90 ms', 'max ms'], [idle, ...rows].map(({ name, waits }) =>
      [name, round(median(waits), 2), round(quantile(waits, 0.9), 2), round(Math.max(...waits), 2)]))
}

async function measure ({ lengths: { watchedPages }, servers: [service] }: Bench) {
  // Pages of the warm-up, and probes without a page, which are not measured.
  const warmUps = Math.ceil(watchedPages / 5)
  const livez = await requestsOf(service, 'livez')
  const prober = connect(livez)
  const probe = () => send(prober, livez.at(0))

  async function longestWaits (operation: Operation): Promise<number[]> {
    const pages = await requestsOf(service, operation)
    const caller = connect(pages)
    const waits: number[] = []
    for (let index = 0; index < warmUps + watchedPages; index += 1) {
      const stopped = new AbortController()
      const page = send(caller, pages.at(index)).finally(() => { stopped.abort() })
      let longest = 0
      while (!stopped.signal.aborted) longest = Math.max(longest, await probe())
      await page
      waits.push(longest)
    }
    await caller.destroy()
    return waits.slice(warmUps)
  }

  const waits: number[] = []
  for (let index = 0; index < warmUps + 10 * watchedPages; index += 1) waits.push(await probe())
  const idle = { name: 'none (every probe)', waits: waits.slice(warmUps) }
  const rows = [
    { name: '100 of 1 KiB that do not change', waits: await longestWaits('list') },
    { name: '100 of 1 KiB that change', waits: await longestWaits('changedList') },
    { name: '100 of 8 KiB', waits: await longestWaits('rich') }
  ]
  await prober.destroy()
  return { idle, rows }
}
