import { once } from 'node:events'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { sendHead, startForTest } from './client.ts'
import { everyField, putJob, reportsHost, toFields, toOrder } from './report-client.ts'

const mebibyte = 1024 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

t.test('report of 300,000 generated rows takes no memory', { timeout: 240_000 }, async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', { ...everyField, OptionalFields: toFields('Size', 'ETag') })
  let most = { live: 0, rss: 0 }
  const watch = setInterval(() => {
    collectGarbage()
    const { heapUsed, external, rss } = process.memoryUsage()
    // V8 enlarges its young generation step by step, whatever the length of a report.
    const young = getHeapSpaceStatistics().filter(({ space_name: name }) => name.startsWith('new_'))
      .reduce((sum, { physical_space_size: size }) => sum + size, 0)
    most = { live: Math.max(most.live, heapUsed + external), rss: Math.max(most.rss, rss - young) }
  }, 200)
  t.teardown(() => clearInterval(watch))

  /** Delivers a report, and reads its data files without keeping them. Returns their bytes. */
  const run = async (rows: number): Promise<number> => {
    const { files } = await emulator.deliverReport(toOrder(rows, { form: { rowsPerFile: 150_000 } }))
    let bytes = 0
    for (const key of files) {
      const incoming = await sendHead(emulator, { target: `/${key}`, host: reportsHost })
      incoming.on('data', (chunk: Buffer) => { bytes += chunk.length })
      await once(incoming, 'end')
    }
    return bytes
  }

  // Compiled code takes memory at first.
  await run(100_000)
  const before = most
  const bytes = await run(300_000)
  const grown = { live: (most.live - before.live) / mebibyte, rss: (most.rss - before.rss) / mebibyte }
  t.ok(bytes > 11 * mebibyte, `${Math.round(bytes / mebibyte)} MiB of compressed files`)
  t.ok(grown.live < 8, `objects in memory grew by ${grown.live.toFixed(1)} MiB`)
  t.ok(grown.rss < 20, `the process grew by ${grown.rss.toFixed(1)} MiB`)
})
