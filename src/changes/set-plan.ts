/** The plan of a desired set: the changes to a bucket and their order. */
import { createPauses } from '../concurrency/event-loop.ts'
import { maxSetSize } from '../contract/desired-set.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { normalize } from '../cos/xml/inventory-xml.ts'
import { ServiceError } from '../errors.ts'
import type { ValidationIssue } from '../errors.ts'
import { differencesOf } from './differences.ts'
import type { Difference } from './differences.ts'

/** The planned result of one configuration. An update keeps the form of the stored XML. */
export type Step = { id: string } & (
  | { outcome: 'Created', configuration: object }
  | { outcome: 'Updated', configuration: object, changes: Difference[], stored: string }
  | { outcome: 'Deleted' | 'Unchanged' | 'Unmanaged' }
)

/** Steps in phases. The steps of a phase may run concurrently. A phase starts after the previous one has ended. */
export type Plan = Step[][]

/** Configurations with unique ids. */
export type Desired = ReadonlyArray<{ Id: string }>

export interface PlanOptions {
  /** Whether stored configurations that the set does not contain are deleted. */
  prune: boolean
}

/**
 * Compares a set with the stored configurations by their canonical forms. Reads only the pages of LIST.
 *
 * @throws {ServiceError} the errors of LIST; ValidationFailed if the bucket would contain too many configurations, or
 *   if a configuration is too large
 */
export async function planSet (
  inventories: Inventories, call: Call, desired: Desired, { prune }: PlanOptions
): Promise<Outcome<Plan>> {
  await rejectTooLarge(inventories, desired)
  const { value: { documents }, cos } = await inventories.listAll(call)
  const stored = new Map(documents.map(each => [each.configuration.Id, each]))
  const named = new Set(desired.map(({ Id: id }) => id))
  const others = [...stored.keys()].filter(id => !named.has(id))
  const steps: Step[] = []
  const pause = createPauses()
  for (const configuration of desired) {
    await pause()
    steps.push(stepTo(configuration, stored.get(configuration.Id)))
  }
  const updates = steps.flatMap(step => step.outcome === 'Updated' ? [[step.id, step.stored] as const] : [])
  await rejectTooLarge(inventories, desired, new Map(updates))
  for (const id of others) steps.push({ id, outcome: prune ? 'Deleted' : 'Unmanaged' })
  if (!prune) rejectTooMany(desired.length, others.length)
  return { value: inPhases(steps, stored.size), cos }
}

/** Tells whether a step changes the stored configurations. */
export function isChange ({ outcome }: Step): boolean {
  return outcome !== 'Unchanged' && outcome !== 'Unmanaged'
}

/**
 * Rejects a set with configurations that are too large.
 *
 * @param updates the stored XML of the configurations to check, by id; undefined checks all of them as new ones
 * @throws {ServiceError} ValidationFailed with an issue for each of them
 */
async function rejectTooLarge (
  inventories: Inventories, desired: Desired, updates?: ReadonlyMap<string, string>
): Promise<void> {
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
  throw new ServiceError('ValidationFailed',
    'The set contains configurations that are too large. Nothing was changed; shorten those that errors names.', { errors })
}

function stepTo (configuration: { Id: string }, stored: CosDocument | undefined): Step {
  const { Id: id } = configuration
  if (stored === undefined) return { id, outcome: 'Created', configuration }
  const changes = differencesOf(stored.configuration, normalize(id, configuration))
  if (changes.length === 0) return { id, outcome: 'Unchanged' }
  return { id, outcome: 'Updated', configuration, changes, stored: stored.xml }
}

/**
 * Returns the steps in phases between which the bucket never exceeds its limit of configurations. As many as possible
 * are created before deletions, so that a renamed configuration misses no report.
 */
function inPhases (steps: Step[], stored: number): Plan {
  const of = (...outcomes: Array<Step['outcome']>) => steps.filter(({ outcome }) => outcomes.includes(outcome))
  const created = of('Created')
  const capacity = Math.max(0, maxSetSize - stored)
  return [of('Unchanged', 'Unmanaged'), of('Updated'), created.slice(0, capacity), of('Deleted'), created.slice(capacity)]
}

function rejectTooMany (desired: number, others: number): void {
  if (desired + others <= maxSetSize) return
  throw new ServiceError('ValidationFailed', 'The bucket would contain too many configurations. Nothing was changed; see errors.', {
    errors: [{
      in: 'body',
      pointer: '/InventoryConfigurations',
      detail: `a bucket contains at most ${maxSetSize} configurations; the set has ${desired}, and the bucket has ` +
        `${others} others. Reduce the set, delete others first, or send prune=true to delete all others`
    }]
  })
}
