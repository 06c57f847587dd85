import type { Operation } from '../operations.ts'
import type { FailureClass } from '../upstream-error.ts'
import type { RetryDenial } from './retry-policy.ts'

/** The result of an attempt or a call; `internal` is an error of this service. */
export type CallClass = 'ok' | FailureClass | 'internal'

/** The result of an attempt, with the code of its error. */
export interface Ending {
  class: CallClass
  code: string
}

/** Receives counts and durations, which are in seconds. */
export interface CallObserver {
  attempted (operation: Operation, ending: Ending, seconds: number): void
  called (operation: Operation, ending: CallClass, seconds: number): void
  retried (operation: Operation, after: FailureClass): void
  retryDenied (reason: RetryDenial): void
  waited (seconds: number): void
}
