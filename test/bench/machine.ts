import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { pid as ownPid } from 'node:process'

/** The unit of CPU time in /proc: `_SC_CLK_TCK` of Linux on every architecture of Node. */
const ticksPerSecond = 100

/** Cores of the server and the load, in the form of `taskset -c`. */
export interface Cores {
  /** Core of the server under test. */
  server: string
  /** Core of the load, in this process, and of the upstream double. */
  load: string
  both: string
}

/** Returns cores for server and load; undefined with a single core or without `taskset` (util-linux). */
export function findCores (): Cores | undefined {
  if (availableParallelism() < 2 || spawnSync('taskset', ['-V']).error !== undefined) return undefined
  return { server: '0', load: '1', both: '0,1' }
}

/** Moves a running process with all its threads to these cores. */
export function pin (pid: number, cores: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', cores, String(pid)], { stdio: 'ignore' })
}

/** Returns the CPU time of processes and their children in microseconds. The kernel counts in steps of 10 ms. */
export function cpuMicrosOf (pids: number[]): number {
  return pids.flatMap(withChildren).reduce((sum, pid) => sum + ticksOf(pid).own, 0) / ticksPerSecond * 1e6
}

/** Returns the resident memory of a process and its children in MiB. */
export function residentMiBOf (pid: number): number {
  const kib = withChildren(pid).map(each =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1]))
  return kib.reduce((sum, each) => sum + each, 0) / 1024
}

function withChildren (pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap(thread =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(text => text !== '').map(Number))
  return [pid, ...children.flatMap(withChildren)]
}

/** Returns the CPU time of a process and of its ended children in ticks. */
function ticksOf (pid: number): { own: number, ended: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may contain blanks; utime is the 14th field (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number)
  const [user = NaN, system = NaN, endedUser = NaN, endedSystem = NaN] = fields.slice(11, 15)
  return { own: user + system, ended: endedUser + endedSystem }
}

/** Returns the CPU time of the machine in ticks: total, used, and given to others by the hypervisor. */
function ticksOfMachine (): { total: number, used: number, stolen: number } {
  const [user = NaN, nice = NaN, system = NaN, idle = NaN, iowait = NaN, irq = NaN, softirq = NaN, stolen = NaN] =
    readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? []
  // Interrupt time belongs to no process, and on loopback most of it comes from the bench.
  const used = user + nice + system
  return { total: used + idle + iowait + irq + softirq + stolen, used, stolen }
}

/** Measures the share of the machine that other processes use. */
export interface Disturbance {
  /** Runs a measurement and records the share of other processes meanwhile. */
  during<T> (measure: () => Promise<T>): Promise<T>
  /** Returns the result of all measurements in one line. */
  verdict (): string
}

/** Share of other processes that is tolerated. */
const tolerated = 0.05

/** Starts a measurement with /proc/stat. Use that is not of this process or its children belongs to others. */
export function watchDisturbance (): Disturbance {
  const shares: number[] = []
  const snapshot = () => {
    const ticks = withChildren(ownPid).map(ticksOf)
    return { ...ticksOfMachine(), ours: ticks.reduce((sum, { own, ended }) => sum + own + ended, 0) }
  }
  return {
    async during (measure) {
      const before = snapshot()
      const result = await measure()
      const after = snapshot()
      const others = after.used - before.used - (after.ours - before.ours) + after.stolen - before.stolen
      shares.push(Math.max(0, others) / Math.max(1, after.total - before.total))
      return result
    },
    verdict () {
      const disturbed = shares.filter(share => share > tolerated).length
      const worst = (100 * Math.max(0, ...shares)).toFixed(1)
      if (disturbed === 0) return `undisturbed: other processes used at most 5 % in all ${shares.length} rounds (worst ${worst} %)`
      return `disturbed: other processes used more than 5 % of the machine in ${disturbed} of ${shares.length} rounds (worst ${worst} %)`
    }
  }
}

/** Returns the machine and versions of a measurement as lines of markdown. */
export function describeMachine (cores: Cores | undefined): string[] {
  const { stderr, error } = spawnSync('nginx', ['-v'], { encoding: 'utf8' })
  const nginx = error === undefined ? stderr.replace(/^.*nginx\//s, '').trim() : 'not installed: skipped'
  const pinning = cores === undefined
    ? 'not pinned: requires two cores and `taskset`'
    : `server under test on core ${cores.server}, load and upstream double on core ${cores.load}`
  return [
    `- ${new Date().toISOString()}`,
    `- ${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores; ${pinning}`,
    `- Node ${process.version}; nginx ${nginx}`
  ]
}
