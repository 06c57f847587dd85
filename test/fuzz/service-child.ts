/**
 * The service under test as a process. It reports over IPC how long its event loop was blocked and how much its heap
 * grew. `service.ts` starts this file with `--expose-gc`.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as timer } from 'node:timers/promises'
import { GCProfiler, getHeapStatistics } from 'node:v8'
import type { HeapInfo } from 'node:v8'
import { pino } from 'pino'
import { readConfig } from '../../src/config/config.ts'
import { startService } from '../../src/service.ts'
import { outputsTo } from '../outputs.ts'

/** `begin` starts a measurement, the others end it. `settled` waits until the process is idle first. */
export type Command = 'begin' | 'figures' | 'settled'

/** The result of a measurement. */
export interface Figures {
  /**
   * Longest time between two rounds of timers in milliseconds, during which no other request was served. It is at most
   * the CPU time of the process, so that time of other processes does not count.
   */
  blockedMs: number
  /** Highest heap size above the size at the start, in MiB, including garbage that was not collected yet. */
  grownMiB: number
}

const mebibyte = 1024 * 1024

/** Fires a timer each millisecond. The interval between two firings contains all time that the loop was blocked. */
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
  const blockedMs = Math.min(delay.max / 1e6, (user + system) / 1000)
  // The heap grows only between two collections, so its peaks are before each collection and at the end.
  const sizes = [getHeapStatistics(), ...collections.stop().statistics.map(each => each.beforeGC.heapStatistics)]
    .map(sizeOf)
  collections = new GCProfiler()
  collections.start()
  return { blockedMs, grownMiB: (Math.max(...sizes) - baseline) / mebibyte }
}

function sizeOf (heap: Pick<HeapInfo, 'used_heap_size' | 'external_memory'> | GcHeap): number {
  return 'usedHeapSize' in heap ? heap.usedHeapSize + heap.externalMemory : heap.used_heap_size + heap.external_memory
}

interface GcHeap { usedHeapSize: number, externalMemory: number }

/** After a reset, the first firing only marks the start of the first interval. */
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

async function reply (command: Command): Promise<void> {
  if (command === 'begin') {
    await begin()
    process.send?.('begun')
    return
  }
  if (command === 'settled') await untilIdle()
  process.send?.(await figures())
}

collections.start()
delay.enable()
const nowhere = { write () {} }
const { url } = await startService(readConfig(process.env), pino({ level: 'info' }, nowhere), outputsTo(nowhere.write))
process.on('message', command => { void reply(command as Command) })
process.send?.(url)
