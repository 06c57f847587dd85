/**
 * A whole bucket brought to a desired set of configurations: what differs is found out first, and changed a few at a
 * time.
 */
import type { Action } from '../contract/callers.ts'
import { maxSetSize } from '../contract/desired-set.ts'
import { canceled } from '../cos/upstream-error.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import { normalise } from '../cos/xml/inventory-xml.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { ServiceError } from '../errors.ts'
import type { CosContext, ValidationIssue } from '../errors.ts'
import { createPauses } from '../concurrency/event-loop.ts'
import { lockKeyOf } from './versioned-inventories.ts'
import { differencesOf } from './differences.ts'
import type { Difference } from './differences.ts'
import type { Locks } from './locks.ts'

/** What is to become of one configuration, and what has. An update keeps the form of the stored XML. */
export type Step = { id: string } & (
  | { outcome: 'Created', configuration: object }
  | { outcome: 'Updated', configuration: object, changes: Difference[], stored: string }
  | { outcome: 'Deleted' | 'Unchanged' | 'Unmanaged' }
)

/** Steps in phases: those of a phase may be taken at once, and all of them before those of the next. */
export type Plan = Step[][]

/** Observes the changes of a set. */
export interface ChangeObserver {
  /** Called once, before anything is changed. */
  onPlanned (plan: Outcome<Plan>): void
  /** Returns why no further change may start; undefined while one may. */
  mayStart (): ServiceError | undefined
  onChangeStarted (change: Change): void
  /** Called for each change that was started. */
  onChangeFinished (change: Change, result: ChangeResult): void
  /** Called for each change that may not start any more. */
  onChangeRejected (change: Change, error: unknown): void
}

/** A step that changes something. */
export interface Change {
  step: Step
  id: string
  action: Action
  /** What is written; undefined for a deletion. */
  configuration: object | undefined
}

/** The result of a change: an error, or COS's ids of the exchange. */
export type ChangeResult = { error: unknown } | { cos: CosContext }

/** Runs an operation in the region where the bucket is. */
export type InBucket = <T>(operation: (call: Call) => Promise<T>) => Promise<T>

type Desired = ReadonlyArray<{ Id: string }>

interface Options {
  /** Whether what the set does not name is deleted. */
  prune: boolean
}

/** Bringing a bucket to a desired set. Both throw what {@link Inventories} throws. */
export interface DesiredSets {
  /**
   * Compares by meaning, reading nothing but the pages of LIST.
   *
   * @param desired configurations, each with an Id of its own
   * @throws {ServiceError} ValidationFailed when the bucket would come to hold more than it can, or a configuration is
   *   too large to be sent
   */
  plan (call: Call, desired: Desired, options: Options): Promise<Outcome<Plan>>
  /**
   * Plans and takes the steps. One that fails keeps no other from being taken. Of each bucket one set at a time.
   *
   * @throws {ServiceError} of the plan, or Overloaded when another set of the bucket takes too long; then nothing was
   *   changed
   */
  apply (call: Call, inBucket: InBucket, desired: Desired, options: Options, observer: ChangeObserver): Promise<void>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
  /** For each change, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** Of one set: enough to hide the latency of COS, few enough to leave room for others. */
const changesAtOnce = 8

/** A whole set has so many times the time of one request: by default five minutes, for at most a thousand changes. */
export const deadlinesOfSet = 20

/** Builds the sets on the operations of COS. */
export function createDesiredSets ({ inventories, locks, deadlineMs, now }: Dependencies): DesiredSets {
  /** @param updates the stored XML of the configurations to look at; undefined looks at all, as new ones */
  async function rejectTooLarge (desired: Desired, updates?: ReadonlyMap<string, string>): Promise<void> {
    const errors: ValidationIssue[] = []
    const pause = createPauses()
    for (const [index, configuration] of desired.entries()) {
      const stored = updates?.get(configuration.Id)
      if (updates !== undefined && stored === undefined) continue
      await pause()
      const detail = inventories.sizeError(configuration.Id, configuration, stored)
      if (detail !== undefined) errors.push({ in: 'body', pointer: `/InventoryConfigurations/${index}`, detail })
    }
    if (errors.length === 0) return
    throw new ServiceError('ValidationFailed', 'The set holds configurations that are too large. Nothing was changed.', { errors })
  }

  async function plan (call: Call, desired: Desired, { prune }: Options): Promise<Outcome<Plan>> {
    await rejectTooLarge(desired)
    const { value: { documents }, cos } = await inventories.listAll(call)
    const present = new Map(documents.map(each => [each.configuration.Id, each]))
    const named = new Set(desired.map(({ Id: id }) => id))
    const others = [...present.keys()].filter(id => !named.has(id))
    const steps: Step[] = []
    const pause = createPauses()
    for (const configuration of desired) {
      await pause()
      steps.push(stepTo(configuration, present.get(configuration.Id)))
    }
    await rejectTooLarge(desired, new Map(steps.flatMap(step => step.outcome === 'Updated' ? [[step.id, step.stored]] : [])))
    for (const id of others) steps.push({ id, outcome: prune ? 'Deleted' : 'Unmanaged' })
    if (!prune) refuseTooMany(desired.length, others.length)
    return { value: inPhases(steps, present.size), cos }
  }

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
    plan,

    apply: (call, inBucket, desired, options, observer) => locks.run(call.bucket, call, async () => {
      const planned = await inBucket(each => plan(each, desired, options))
      observer.onPlanned(planned)
      await carryOut(call, inBucket, planned.value, observer)
    })
  }
}

function stepTo (configuration: { Id: string }, present: CosDocument | undefined): Step {
  const { Id: id } = configuration
  if (present === undefined) return { id, outcome: 'Created', configuration }
  const changes = differencesOf(present.configuration, normalise(id, configuration))
  if (changes.length === 0) return { id, outcome: 'Unchanged' }
  return { id, outcome: 'Updated', configuration, changes, stored: present.xml }
}

/** Tells whether a step changes something. */
export function isChange ({ outcome }: Step): boolean {
  return outcome !== 'Unchanged' && outcome !== 'Unmanaged'
}

function toChange (step: Step): Change {
  const configuration = 'configuration' in step ? step.configuration : undefined
  const action = configuration === undefined ? 'cos:DeleteBucketInventory' : 'cos:PutBucketInventory'
  return { step, id: step.id, action, configuration }
}

/**
 * What a bucket holds never goes above the limit, nor further down than it must: configurations are created before
 * others are deleted, so that a report under a new name is not missed in between, as far as there is room; the rest is
 * created when others are gone.
 */
function inPhases (steps: Step[], present: number): Plan {
  const of = (...outcomes: Array<Step['outcome']>) => steps.filter(({ outcome }) => outcomes.includes(outcome))
  const created = of('Created')
  const room = Math.max(0, maxSetSize - present)
  return [of('Unchanged', 'Unmanaged'), of('Updated'), created.slice(0, room), of('Deleted'), created.slice(room)]
}

function refuseTooMany (desired: number, others: number): void {
  if (desired + others <= maxSetSize) return
  throw new ServiceError('ValidationFailed', 'The bucket would hold too many configurations. Nothing was changed.', {
    errors: [{
      in: 'body',
      pointer: '/InventoryConfigurations',
      detail: `a bucket holds at most ${maxSetSize} configurations; these are ${desired}, and ${others} others are ` +
        'there: leave some out, delete some first, or send prune=true to delete all others'
    }]
  })
}

function outOfTime (): ServiceError {
  return new ServiceError('UpstreamTimeout', 'The set took longer than a set may. This change was not begun: send the ' +
    'set again, what holds already is left as it is.')
}
