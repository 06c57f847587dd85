import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { InventoryConfigurationInputSchema } from './inventory.ts'
import { IdSchema } from './names.ts'
import { ProblemSchema } from './problem.ts'
import { closed, component, documentedAs, patchOf, refTo, StringEnum } from './schema.ts'

/** The largest number of configurations in a bucket (COS document 30625). */
export const maxSetSize = 1000

/** A configuration of a set. Its Id is required. */
export const DesiredConfigurationSchema = component('DesiredConfiguration', Type.Object({
  ...InventoryConfigurationInputSchema.properties,
  Id: IdSchema
}, { ...closed, description: 'A configuration of a set, in the form that PUT accepts. Its Id is required.' }))

/** Body of PUT on the collection. */
export const DesiredSetSchema = Type.Object({
  // A generator makes a tuple of each array with maxItems.
  InventoryConfigurations: documentedAs(
    Type.Array(DesiredConfigurationSchema, { maxItems: maxSetSize }),
    Type.Array(DesiredConfigurationSchema, { description: `The desired configurations, each with its Id: at most ${maxSetSize}.` })
  ),
  IsTruncated: Type.Optional(Type.Unsafe<false>({
    const: false,
    description: 'Must be false. The response of GET with all=true can be sent back; one page of several cannot.'
  }))
}, {
  ...closed,
  $id: 'DesiredSet',
  description: 'The desired configurations of a bucket.'
})

const changeExample = { pointer: '/Schedule/Frequency', from: 'Daily', to: 'Weekly' }

const Change = component('Change', Type.Object({
  pointer: Type.String({
    description: 'RFC 6901 pointer into the configuration.',
    examples: ['/Schedule/Frequency']
  }),
  from: Type.Optional(Type.Unknown({ description: 'The stored value; absent if the value is added.' })),
  to: Type.Optional(Type.Unknown({ description: 'The desired value; absent if the value is removed.' }))
}, { ...closed, description: 'A difference between the stored and the desired configuration.', examples: [changeExample] }))

const Changes = Type.Array(Change, { description: 'All values that differ. Lists are compared as a whole.' })

const Id = Type.String()

const ids = (description: string) => Type.Array(Id, { description })

/** A line of the response of PUT on the collection when the client accepts application/x-ndjson. */
export const SetProgressSchema = Type.Object({
  Id,
  Outcome: StringEnum(['Created', 'Updated', 'Deleted', 'Unchanged', 'Unmanaged', 'Failed']),
  Changes: Type.Optional(Changes),
  problem: Type.Optional(refTo(ProblemSchema))
}, {
  ...closed,
  $id: 'SetProgress',
  description: 'The outcome of one configuration, as one line of the response. It is sent as soon as it is known.',
  examples: [{ Id: 'daily-report', Outcome: 'Updated', Changes: [changeExample] }]
})

/** Response of PUT on the collection. */
export const SetOutcomeSchema = Type.Object({
  Created: ids('Configurations that did not exist.'),
  Updated: Type.Array(Type.Object({ Id, Changes }, closed), { description: 'Configurations that were different.' }),
  Deleted: ids('Configurations that the set does not contain and prune=true deleted.'),
  Unchanged: ids('Configurations that were already as desired. They were not written.'),
  Unmanaged: ids('Configurations that the set does not contain. They were not changed.'),
  Failed: Type.Array(Type.Object({ Id, problem: refTo(ProblemSchema) }, closed), {
    description: 'Configurations that could not be changed, with the problem. The same request retries only these.'
  })
}, {
  ...closed,
  $id: 'SetOutcome',
  // No operation refers to the schema of lines, because generators would take it for that of the response.
  $defs: { Line: refTo(SetProgressSchema) },
  description: 'The outcome of each configuration. With dry-run=true, the planned outcome.',
  examples: [{
    Created: ['weekly-report'],
    Updated: [{ Id: 'daily-report', Changes: [changeExample] }],
    Deleted: [],
    Unchanged: ['logs'],
    Unmanaged: ['other-team'],
    Failed: []
  }]
})

const { Id: _, ...patchable } = InventoryConfigurationInputSchema.properties

const ofPatch = {
  description: 'Part of a configuration in the form that GET returns. Its members replace the stored ones. Objects are ' +
    'merged, null removes a member, and lists are replaced as a whole.',
  examples: [
    { IsEnabled: false },
    { Schedule: { Frequency: 'Monthly', MonthlyDate: 1 }, Filter: null }
  ]
}

/** Body of PATCH (RFC 7396). The merged configuration must be a valid InventoryConfigurationInput. */
export const InventoryConfigurationPatchSchema = documentedAs(
  Type.Object({}, { $id: 'InventoryConfigurationPatch', additionalProperties: true, ...ofPatch }),
  { ...patchOf(Type.Object(patchable, closed)), ...ofPatch })

export type SetOutcome = Static<typeof SetOutcomeSchema>
export type SetProgress = Static<typeof SetProgressSchema>
