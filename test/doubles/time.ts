import { mock } from 'node:test'

/** What a subtest needs of tap: a place to clean up. */
interface Test {
  teardown (handler: () => unknown): void
}

/** Time that a test controls. No other test may run in the process meanwhile. */
export interface ControlledTime {
  /** Advances `Date.now` and `performance.now` by so many milliseconds. Runs no timer. */
  pass (ms: number): void
  /** Stops both clocks, except for {@link pass}. Timers still run. */
  stop (): void
  /**
   * Runs the oldest waiting timer of this delay at once.
   *
   * @param ms the delay; timers of more than half of it count too, such as those of a deadline that is already running
   * @throws {Error} when no such timer waits
   */
  expire (ms: number): void
  /** Returns how many timers of this delay wait, as {@link expire} counts them. */
  waiting (ms: number): number
}

/** Limits that no request reaches, however slow the machine is. A test ends them with {@link ControlledTime.expire}. */
export const patient = { COS_TIMEOUT_MS: '60000', COS_DEADLINE_MS: '600000' }

/** The limit of one attempt under {@link patient}, in milliseconds. */
export const attemptMs = Number(patient.COS_TIMEOUT_MS)

/**
 * Puts the clocks and the `setTimeout` of this process under control until the end of the test. Code that keeps a
 * reference to `Date.now` must start later than this.
 */
export function controlTime (t: Test): ControlledTime {
  const { setTimeout: start, clearTimeout: end } = globalThis
  let [dateNow, performanceNow] = [Date.now.bind(Date), performance.now.bind(performance)]
  const timers = new Map<unknown, { delayMs: number, run: () => void }>()
  let passedMs = 0
  const started = (run: (...args: unknown[]) => void, delayMs = 1, ...args: unknown[]) => {
    const timer = start(() => {
      timers.delete(timer)
      run(...args)
    }, delayMs)
    timers.set(timer, { delayMs, run: () => { run(...args) } })
    return timer
  }
  const mocks = [
    mock.method(Date, 'now', () => dateNow() + passedMs),
    mock.method(performance, 'now', () => performanceNow() + passedMs),
    mock.method(globalThis, 'setTimeout', started as typeof setTimeout),
    mock.method(globalThis, 'clearTimeout', (timer: NodeJS.Timeout | undefined) => {
      timers.delete(timer)
      end(timer)
    })
  ]
  t.teardown(() => { for (const each of mocks) each.mock.restore() })
  const waiting = (ms: number) => [...timers].filter(([, { delayMs }]) => delayMs > ms / 2 && delayMs <= ms)

  return {
    pass (ms) { passedMs += ms },
    stop () {
      const [date, sinceStart] = [dateNow(), performanceNow()];
      [dateNow, performanceNow] = [() => date, () => sinceStart]
    },
    expire (ms) {
      const [oldest] = waiting(ms)
      if (oldest === undefined) throw new Error(`no timer of ${ms} ms waits`)
      const [timer, { run }] = oldest
      clearTimeout(timer as NodeJS.Timeout)
      run()
    },
    waiting: ms => waiting(ms).length
  }
}
