/**
 * The service under test, in a process of its own. It reports over IPC how long its event loop was held and how much
 * its heap grew. `service.ts` starts this file with `--expose-gc`.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as timer } from 'node:timers/promises'
import { GCProfiler, getHeapStatistics } from 'node:v8'
import type { HeapInfo } from 'node:v8'
import { pino } from 'pino'
import { readConfig } from '../../src/config/config.ts'
import { startService } from '../../src/service.ts'
import { outputsTo } from '../outputs.ts'

/** `begin` starts a measurement, the others end it. `settled` waits first until the process has nothing to do. */
export type Question = 'begin' | 'figures' | 'settled'

/** What a measurement found. */
export interface Figures {
  /**
   * Milliseconds of the longest time between two rounds of timers: what every other request had to wait. At most the
   * CPU time that the process used meanwhile: time that the machine gave to other processes does not count.
   */
  heldMs: number
  /** Highest heap size above the size at the begin, in MiB. Garbage that was not collected yet counts. */
  grownMiB: number
}

const mebibyte = 1024 * 1024

/** Fires a timer each millisecond. The interval between two firings contains each stretch that holds the loop. */
const delay = monitorEventLoopDelay({ resolution: 1 })
let collections = new GCProfiler()
let baseline = 0
let usage = process.cpuUsage()

async function begin (): Promise<void> {
  collections.stop()
  globalThis.gc?.()
  collections = new GCProfiler()
  collections.start()
  baseline = sizeOf(getHeapStatistics())
  delay.reset()
  await roundsOfTimers()
  usage = process.cpuUsage()
}

async function figures (): Promise<Figures> {
  await roundsOfTimers()
  const { user, system } = process.cpuUsage(usage)
  const heldMs = Math.min(delay.max / 1e6, (user + system) / 1000)
  // The heap only grows between two collections: its peaks are right before each of them, and at the end.
  const sizes = [getHeapStatistics(), ...collections.stop().statistics.map(each => each.beforeGC.heapStatistics)]
    .map(sizeOf)
  collections = new GCProfiler()
  collections.start()
  return { heldMs, grownMiB: (Math.max(...sizes) - baseline) / mebibyte }
}

function sizeOf (heap: Pick<HeapInfo, 'used_heap_size' | 'external_memory'> | GcHeap): number {
  return 'usedHeapSize' in heap ? heap.usedHeapSize + heap.externalMemory : heap.used_heap_size + heap.external_memory
}

interface GcHeap { usedHeapSize: number, externalMemory: number }

/** After a reset the first firing only says where the first interval begins. */
async function roundsOfTimers (): Promise<void> {
  for (let round = 0; round < 3; round++) await timer(2)
}

/** Waits until this process uses less than a fifth of a core. */
async function untilIdle (): Promise<void> {
  for (let usedMs = Infinity; usedMs > 5;) {
    const before = process.cpuUsage()
    await timer(25)
    const { user, system } = process.cpuUsage(before)
    usedMs = (user + system) / 1000
  }
}

async function reply (question: Question): Promise<void> {
  if (question === 'begin') {
    await begin()
    process.send?.('begun')
    return
  }
  if (question === 'settled') await untilIdle()
  process.send?.(await figures())
}

collections.start()
delay.enable()
const nowhere = { write () {} }
const { url } = await startService(readConfig(process.env), pino({ level: 'info' }, nowhere), outputsTo(nowhere.write))
process.on('message', question => { void reply(question as Question) })
process.send?.(url)
