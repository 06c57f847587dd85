import { mock } from 'node:test'

/** The part of a tap test that this module uses. */
interface Test {
  teardown (handler: () => unknown): void
}

/** The time of this process, controlled by a test. No other test may run in the process at the same time. */
export interface ControlledTime {
  /** Advances `Date.now` and `performance.now` by a number of milliseconds. Runs no timer. */
  pass (ms: number): void
  /** Stops both clocks. Timers still run, and {@link pass} still advances the clocks. */
  stop (): void
  /**
   * Runs the oldest pending timer of this delay at once.
   *
   * @param ms delay in milliseconds; includes timers of more than half of it, such as the rest of a deadline
   * @throws {Error} when no such timer is pending
   */
  expire (ms: number): void
  /** Returns the number of pending timers of this delay in milliseconds, by the rule of {@link expire}. */
  waiting (ms: number): number
}

/** Limits that no request reaches, even on a slow machine. A test ends them with {@link ControlledTime.expire}. */
export const longTimeouts = { COS_TIMEOUT_MS: '60000', COS_DEADLINE_MS: '600000' }

/** Timeout of one attempt with {@link longTimeouts}, in milliseconds. */
export const attemptMs = Number(longTimeouts.COS_TIMEOUT_MS)

/**
 * Replaces the clocks and `setTimeout` of this process until the end of the test. Code that keeps a reference to
 * `Date.now` must start after this call.
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
      if (oldest === undefined) throw new Error(`no timer of ${ms} ms is pending`)
      const [timer, { run }] = oldest
      clearTimeout(timer as NodeJS.Timeout)
      run()
    },
    waiting: ms => waiting(ms).length
  }
}
