/** Brings a bucket to a desired set of configurations: plans first, then makes a few changes at a time. */
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
  /** Called once, before anything is changed. */
  onPlanned (plan: Outcome<Plan>): void
  /** Returns the reason why no further change may start; undefined while one may. */
  mayStart (): ServiceError | undefined
  onChangeStarted (change: Change): void
  /** Called for each change that was started. */
  onChangeFinished (change: Change, result: ChangeResult): void
  /** Called for each change that may no longer start. */
  onChangeRejected (change: Change, error: unknown): void
}

/** A step that changes the stored configurations. */
export interface Change {
  step: Step
  id: string
  action: Action
  /** The configuration that is written; undefined for a deletion. */
  configuration: object | undefined
}

/** The result of a change: an error, or COS's ids of the exchange. */
export type ChangeResult = { error: unknown } | { cos: CosContext }

/** Runs an operation in the region of the bucket. */
export type InBucket = <T>(operation: (call: Call) => Promise<T>) => Promise<T>

/** The operations on the desired set of a bucket. Both throw the errors of {@link planSet}. */
export interface DesiredSets {
  /** Returns the plan, and changes nothing. */
  plan (call: Call, desired: Desired, options: PlanOptions): Promise<Outcome<Plan>>
  /**
   * Plans and takes the steps. A step that fails prevents no other. Each bucket has one set at a time.
   *
   * @throws {ServiceError} also Overloaded when another set of the bucket takes too long; then nothing was changed
   */
  apply (
    call: Call, inBucket: InBucket, desired: Desired, options: PlanOptions, observer: ChangeObserver
  ): Promise<void>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
  /** For each change, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** Changes of one set at once: enough to hide the latency of COS, few enough to leave capacity for other requests. */
const changesAtOnce = 8

/** The deadline of a set in deadlines of a request: by default five minutes, for a thousand changes at most. */
export const deadlinesOfSet = 20

/** Creates the sets on the operations of COS. */
export function createDesiredSets ({ inventories, locks, deadlineMs, now }: Dependencies): DesiredSets {
  function write (call: Call, { id, step, configuration }: Change): Promise<Outcome<undefined>> {
    return locks.run(lockKeyOf(call, id), call, () => configuration === undefined
      ? inventories.delete(call, id)
      : inventories.put(call, id, configuration, 'stored' in step ? step.stored : undefined))
  }

  async function resultOf (inBucket: InBucket, change: Change): Promise<ChangeResult> {
    const deadlineAt = now() + deadlineMs
    try {
      return await inBucket(call => write({ ...call, deadlineAt }, change))
    } catch (error) {
      return { error }
    }
  }

  async function carryOut (
    { signal }: Call, inBucket: InBucket, phases: Plan, observer: ChangeObserver
  ): Promise<void> {
    // A change that starts has its whole deadline, and the set ends in time.
    const lastStartAt = now() + (deadlinesOfSet - 1) * deadlineMs
    const rejection = () => signal.aborted ? canceled() : now() > lastStartAt ? outOfTime() : observer.mayStart()

    async function make (change: Change): Promise<void> {
      const error = rejection()
      if (error !== undefined) {
        observer.onChangeRejected(change, error)
        return
      }
      observer.onChangeStarted(change)
      observer.onChangeFinished(change, await resultOf(inBucket, change))
    }

    for (const steps of phases) {
      const queue = steps.filter(isChange).map(toChange).values()
      await Promise.all(Array.from({ length: changesAtOnce }, async () => {
        for (const change of queue) await make(change)
      }))
    }
  }

  return {
    plan: (call, desired, options) => planSet(inventories, call, desired, options),

    apply: (call, inBucket, desired, options, observer) => locks.run(call.bucket, call, async () => {
      const planned = await inBucket(each => planSet(inventories, each, desired, options))
      observer.onPlanned(planned)
      await carryOut(call, inBucket, planned.value, observer)
    })
  }
}

function toChange (step: Step): Change {
  const configuration = 'configuration' in step ? step.configuration : undefined
  const action = configuration === undefined ? 'cos:DeleteBucketInventory' : 'cos:PutBucketInventory'
  return { step, id: step.id, action, configuration }
}

function outOfTime (): ServiceError {
  return new ServiceError('UpstreamTimeout', 'The deadline of the set has passed. This change was not begun: send the set again. ' +
    'Configurations that are up to date stay as they are.')
}
