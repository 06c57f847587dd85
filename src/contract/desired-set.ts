import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { configurationExample, InventoryConfigurationInputSchema } from './inventory.ts'
import { IdSchema } from './names.ts'
import { ProblemSchema } from './problem.ts'
import { closed, refTo, StringEnum } from './schema.ts'

/** The most configurations of a bucket (COS document 30625). */
export const maxSetSize = 1000

/** A configuration of a set. */
export const DesiredConfigurationSchema = Type.Object({
  ...InventoryConfigurationInputSchema.properties,
  Id: IdSchema
}, closed)

/** Body of PUT on the collection. */
export const DesiredSetSchema = Type.Object({
  InventoryConfigurations: Type.Array(DesiredConfigurationSchema,
    { maxItems: maxSetSize, description: 'What the bucket shall hold; each with its Id.' }),
  IsTruncated: Type.Optional(Type.Unsafe<false>({
    const: false,
    description: 'Must be false: what GET with all=true answers can be sent back, one page of several cannot.'
  }))
}, {
  ...closed,
  $id: 'DesiredSet',
  description: 'The configurations a bucket shall hold.',
  examples: [{ InventoryConfigurations: [configurationExample] }]
})

const Change = Type.Object({
  pointer: Type.String({
    description: 'RFC 6901 pointer into the configuration.',
    examples: ['/Schedule/Frequency']
  }),
  from: Type.Optional(Type.Unknown({ description: 'What COS held; absent where it held nothing.' })),
  to: Type.Optional(Type.Unknown({ description: 'What it is to hold; absent where it is to hold nothing.' }))
}, closed)

const Changes = Type.Array(Change, { description: 'Every value that differs. Lists are compared whole.' })

const Id = Type.String({ examples: ['daily-report'] })

const ids = (description: string) => Type.Array(Id, { description })

const changeExample = { pointer: '/Schedule/Frequency', from: 'Daily', to: 'Weekly' }

/** Response of PUT on the collection. */
export const SetOutcomeSchema = Type.Object({
  Created: ids('Were not there.'),
  Updated: Type.Array(Type.Object({ Id, Changes }, closed), { description: 'Were different.' }),
  Deleted: ids('Were there, are not in the set, and prune=true.'),
  Unchanged: ids('Were there already and mean the same: nothing was sent.'),
  Unmanaged: ids('Are there, are not in the set, and were left alone.'),
  Failed: Type.Array(Type.Object({ Id, problem: refTo(ProblemSchema) }, closed), {
    description: 'Could not be changed, and why. The same request again tries these only.'
  })
}, {
  ...closed,
  $id: 'SetOutcome',
  description: 'What became of each configuration; with dry-run=true, what would.',
  examples: [{
    Created: ['weekly-report'],
    Updated: [{ Id: 'daily-report', Changes: [changeExample] }],
    Deleted: [],
    Unchanged: ['logs'],
    Unmanaged: ['somebody-elses'],
    Failed: []
  }]
})

/** A line of the response of PUT on the collection when the client accepts application/x-ndjson. */
export const SetProgressSchema = Type.Object({
  Id,
  Outcome: StringEnum(['Created', 'Updated', 'Deleted', 'Unchanged', 'Unmanaged', 'Failed']),
  Changes: Type.Optional(Changes),
  problem: Type.Optional(refTo(ProblemSchema))
}, {
  ...closed,
  $id: 'SetProgress',
  description: 'What became of one configuration: a line of the answer, sent as soon as it is known.',
  examples: [{ Id: 'daily-report', Outcome: 'Updated', Changes: [changeExample] }]
})

/** Body of PATCH (RFC 7396). The merged configuration must be a valid InventoryConfigurationInput. */
export const InventoryConfigurationPatchSchema = Type.Object({}, {
  $id: 'InventoryConfigurationPatch',
  additionalProperties: true,
  description: 'Part of a configuration as GET answers it: members that are given replace those that are there, ' +
    'objects are gone into, null removes, lists are replaced whole.',
  examples: [
    { IsEnabled: false },
    { Schedule: { Frequency: 'Monthly', MonthlyDate: 1 }, Filter: null }
  ]
})

export type SetOutcome = Static<typeof SetOutcomeSchema>
export type SetProgress = Static<typeof SetProgressSchema>
