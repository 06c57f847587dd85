/** Brings a bucket to a desired set of configurations. Plans all changes, then makes a few at a time. */
import type { Action } from '../contract/callers.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import { canceled } from '../cos/upstream-error.ts'
import { ServiceError } from '../errors.ts'
import type { CosContext } from '../errors.ts'
import { lockKeyOf } from './locks.ts'
import type { Locks } from './locks.ts'
import { isChange, planSet } from './set-plan.ts'
import type { Desired, Plan, PlanOptions, Step } from './set-plan.ts'

/** Observes the changes of a set. */
export interface ChangeObserver {
  /** Receives the plan, once and before the first change. */
  onPlanned (plan: Outcome<Plan>): void
  /** Returns the error of changes that may not start; undefined while changes may start. */
  mayStart (): ServiceError | undefined
  onChangeStarted (change: Change): void
  /** Receives the result of each change that was started. */
  onChangeFinished (change: Change, result: ChangeResult): void
  /** Receives the error of each change that was not started. */
  onChangeRejected (change: Change, error: unknown): void
}

/** A step that changes the stored configurations. */
export interface Change {
  step: Step
  id: string
  action: Action
  /** The new configuration; undefined for a deletion. */
  configuration: object | undefined
}

/** The result of a change: an error, or the ids that COS returned. */
export type ChangeResult = { error: unknown } | { cos: CosContext }

/** Runs an operation in the region of the bucket. */
export type InBucket = <T>(operation: (call: Call) => Promise<T>) => Promise<T>

/** The operations on the desired set of a bucket. Both throw the errors of {@link planSet}. */
export interface DesiredSets {
  /** Returns the plan without changing anything. */
  plan (call: Call, desired: Desired, options: PlanOptions): Promise<Outcome<Plan>>
  /**
   * Plans the set and makes its changes. A failed change does not stop the others. Sets of one bucket are applied one
   * after another.
   *
   * @throws {ServiceError} also Overloaded if another set of the bucket takes too long; nothing was changed then
   */
  apply (
    call: Call, inBucket: InBucket, desired: Desired, options: PlanOptions, observer: ChangeObserver
  ): Promise<void>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
  /** Deadline of each change, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** Concurrent changes of one set. They hide the latency of COS and leave capacity for other requests. */
const concurrentChanges = 8

/** The deadline of a set, as a multiple of the deadline of a request. The default is five minutes for a set. */
export const setDeadlineFactor = 20

/** Creates the operations on desired sets. */
export function createDesiredSets ({ inventories, locks, deadlineMs, now }: Dependencies): DesiredSets {
  function write (call: Call, { id, step, configuration }: Change): Promise<Outcome<undefined>> {
    return locks.run(lockKeyOf(call, id), call, () => configuration === undefined
      ? inventories.delete(call, id)
      : inventories.put(call, id, configuration, 'stored' in step ? step.stored : undefined))
  }

  async function writeInBucket (inBucket: InBucket, change: Change): Promise<ChangeResult> {
    const deadlineAt = now() + deadlineMs
    try {
      return await inBucket(call => write({ ...call, deadlineAt }, change))
    } catch (error) {
      return { error }
    }
  }

  async function makeChanges (
    { signal }: Call, inBucket: InBucket, phases: Plan, observer: ChangeObserver
  ): Promise<void> {
    // Each started change gets its full deadline, and the set still ends in time.
    const lastStartAt = now() + (setDeadlineFactor - 1) * deadlineMs
    const startError = () => signal.aborted ? canceled() : now() > lastStartAt ? deadlinePassed() : observer.mayStart()

    async function makeChange (change: Change): Promise<void> {
      const error = startError()
      if (error !== undefined) {
        observer.onChangeRejected(change, error)
        return
      }
      observer.onChangeStarted(change)
      observer.onChangeFinished(change, await writeInBucket(inBucket, change))
    }

    for (const steps of phases) {
      const queue = steps.filter(isChange).map(toChange).values()
      await Promise.all(Array.from({ length: concurrentChanges }, async () => {
        for (const change of queue) await makeChange(change)
      }))
    }
  }

  return {
    plan: (call, desired, options) => planSet(inventories, call, desired, options),

    apply: (call, inBucket, desired, options, observer) => locks.run(call.bucket, call, async () => {
      const planned = await inBucket(each => planSet(inventories, each, desired, options))
      observer.onPlanned(planned)
      await makeChanges(call, inBucket, planned.value, observer)
    })
  }
}

function toChange (step: Step): Change {
  const configuration = 'configuration' in step ? step.configuration : undefined
  const action = configuration === undefined ? 'cos:DeleteBucketInventory' : 'cos:PutBucketInventory'
  return { step, id: step.id, action, configuration }
}

function deadlinePassed (): ServiceError {
  return new ServiceError('UpstreamTimeout', 'The deadline of the set passed before this change started. Nothing was sent to COS for it; ' +
    'send the set again. Configurations that are up to date are not written again.')
}
