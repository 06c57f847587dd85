import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { pid as ownPid } from 'node:process'

/** `_SC_CLK_TCK` of Linux on every architecture that Node runs on: what /proc counts CPU time in. */
const ticksPerSecond = 100

/** Which cores are whose, as `taskset -c` takes them. */
export interface Cores {
  /** The server under test. */
  server: string
  /** The load, in this process, and the upstream double. */
  load: string
  both: string
}

/** Cores for server and load; undefined where there is one core only, or no `taskset` (util-linux). */
export function findCores (): Cores | undefined {
  if (availableParallelism() < 2 || spawnSync('taskset', ['-V']).error !== undefined) return undefined
  return { server: '0', load: '1', both: '0,1' }
}

/** Moves a running process, with all of its threads, to these cores. */
export function pin (pid: number, cores: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', cores, String(pid)], { stdio: 'ignore' })
}

/** CPU time of processes and all they have started, so far, in microseconds. The kernel counts in steps of 10 ms. */
export function cpuMicrosOf (pids: number[]): number {
  return pids.flatMap(withChildren).reduce((sum, pid) => sum + ticksOf(pid).own, 0) / ticksPerSecond * 1e6
}

/** Resident memory of processes and all they have started, in MiB. */
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

/** CPU time of a process in ticks, and of those children of it that have ended. */
function ticksOf (pid: number): { own: number, ended: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name, in parentheses, may hold blanks; utime is the 14th field (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number)
  const [user = NaN, system = NaN, endedUser = NaN, endedSystem = NaN] = fields.slice(11, 15)
  return { own: user + system, ended: endedUser + endedSystem }
}

/** CPU time of the machine in ticks: all there was, what was used, and what the hypervisor gave to others. */
function ticksOfMachine (): { total: number, used: number, stolen: number } {
  const [user = NaN, nice = NaN, system = NaN, idle = NaN, iowait = NaN, irq = NaN, softirq = NaN, stolen = NaN] =
    readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? []
  // Interrupts are nobody's: over loopback most of them are ours, and no process is charged with them.
  const used = user + nice + system
  return { total: used + idle + iowait + irq + softirq + stolen, used, stolen }
}

/** Watches whether the machine was ours alone while something was measured. */
export interface Disturbance {
  /** Does something that is measured, and notes what share of the machine others used meanwhile. */
  during<T> (measure: () => Promise<T>): Promise<T>
  /** The verdict over all that was measured, in a line. */
  verdict (): string
}

/** What others may use before it is worth a word. */
const tolerated = 0.05

/** A watch over /proc/stat: what is used and not by this process or those it has started is used by others. */
export function watchDisturbance (): Disturbance {
  const shares: number[] = []
  const look = () => {
    const ticks = withChildren(ownPid).map(ticksOf)
    return { ...ticksOfMachine(), ours: ticks.reduce((sum, { own, ended }) => sum + own + ended, 0) }
  }
  return {
    async during (measure) {
      const before = look()
      const result = await measure()
      const after = look()
      const others = after.used - before.used - (after.ours - before.ours) + after.stolen - before.stolen
      shares.push(Math.max(0, others) / Math.max(1, after.total - before.total))
      return result
    },
    verdict () {
      const disturbed = shares.filter(share => share > tolerated).length
      const worst = (100 * Math.max(0, ...shares)).toFixed(1)
      if (disturbed === 0) return `undisturbed: in none of ${shares.length} rounds did others use more than 5 % (worst ${worst} %)`
      return `disturbed: others used more than 5 % of the machine in ${disturbed} of ${shares.length} rounds (worst ${worst} %)`
    }
  }
}

/** What the figures were measured on, as lines of markdown. */
export function describeMachine (cores: Cores | undefined): string[] {
  const { stderr, error } = spawnSync('nginx', ['-v'], { encoding: 'utf8' })
  const nginx = error === undefined ? stderr.replace(/^.*nginx\//s, '').trim() : 'not installed: left out'
  const pinning = cores === undefined
    ? 'not pinned: it takes two cores and `taskset`'
    : `server under test on core ${cores.server}, load and upstream double on core ${cores.load}`
  return [
    `- ${new Date().toISOString()}`,
    `- ${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores; ${pinning}`,
    `- Node ${process.version}; nginx ${nginx}`
  ]
}
