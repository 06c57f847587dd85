import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { Destination } from './destination.ts'
import { FilterInput } from './filter.ts'
import { IdSchema, JobIdSchema } from './names.ts'
import { Schedule } from './schedule.ts'
import { BooleanText, closed, component, documentedAs, Forbidden, PatternText, refTo, StringEnum, Word } from './schema.ts'
import { textMember } from './xml-text.ts'

const IncludedObjectVersions = Word(['All', 'Current'], {
  description: 'All: reports list every version of an object and have version columns. Current: only the latest version.',
  examples: ['All']
})

const fieldNames = [
  'Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus', 'Tag', 'Crc64'
]

const ofField = {
  description: `One of ${fieldNames.join(', ')}, x-cos-meta-* or x-cos-meta-<name>.`,
  examples: ['Size']
}

const Field = documentedAs(PatternText(
  `^(${fieldNames.join('|')}|x-cos-meta-[A-Za-z0-9!#$%&'*+.^_\`|~-]+)$`, ofField
), Type.Union([StringEnum(fieldNames), Type.String({ pattern: '^x-cos-meta-.+' })], ofField))

const FieldList = Type.Array(component('Field', Field), { uniqueItems: true })

const FieldsObject = Type.Object({ Field: Type.Optional(FieldList) }, closed)

const OptionalFieldsInput = component('OptionalFields', documentedAs(Type.Union([FieldsObject, FieldList], {
  description: 'an object with Field, or an array of fields'
}), { ...FieldsObject, description: 'Additional columns of the report.' }))

const jobMembers = {
  Id: Type.Optional(IdSchema),
  IncludedObjectVersions,
  Filter: Type.Optional(FilterInput),
  OptionalFields: Type.Optional(OptionalFieldsInput),
  Destination
}

/** Example of the OpenAPI document and the demo. The sample of the COS Python SDK is similar. */
export const configurationExample = {
  Id: 'daily-report',
  IsEnabled: true,
  IncludedObjectVersions: 'All' as const,
  Filter: { Prefix: 'myPrefix' },
  OptionalFields: { Field: ['Size', 'LastModifiedDate', 'ETag', 'StorageClass'] },
  Schedule: { Frequency: 'Daily' as const },
  Destination: {
    COSBucketDestination: {
      Format: 'CSV' as const,
      AccountId: '100000000001',
      Bucket: 'qcs::cos:ap-guangzhou::examplebucket-1250000000',
      Prefix: 'list1',
      Encryption: { SSECOS: {} }
    }
  }
}

const ofIsEnabled = { description: 'Whether COS creates reports. With false, the configuration is stored but has no effect.' }

/** Body of PUT (COS document 30625). */
export const InventoryConfigurationInputSchema = Type.Object({
  ...jobMembers,
  IsEnabled: documentedAs(Type.Union([
    Type.Boolean(), BooleanText()
  ], { description: 'true or false' }), Type.Boolean(ofIsEnabled)),
  Schedule
}, {
  ...closed,
  $id: 'InventoryConfigurationInput',
  description: 'An inventory configuration in the form that PUT accepts. The spellings of the COS SDKs are accepted, too: ' +
    'IsEnabled as text, OptionalFields as an array, SSECOS as an empty text, and conditions in Filter.And. Other ' +
    'members and values are accepted with allow-unknown=true only.',
  examples: [configurationExample]
})

const { Id: exampleId, IsEnabled: _, Schedule: __, ...jobExample } = configurationExample

/** Body of POST (COS document 46869). It has the members of PUT except IsEnabled and Schedule. */
export const InventoryJobInputSchema = Type.Object({
  ...jobMembers,
  Id: Type.Optional(JobIdSchema),
  IsEnabled: Type.Optional(Forbidden('is not allowed in a one-time job')),
  Schedule: Type.Optional(Forbidden('is not allowed in a one-time job'))
}, {
  ...closed,
  $id: 'InventoryJobInput',
  description: 'A one-time inventory job: a configuration without IsEnabled and Schedule.',
  examples: [jobExample]
})

const [configurationRef, jobRef] = [refTo(InventoryConfigurationInputSchema), refTo(InventoryJobInputSchema)]

/** Members that distinguish a configuration from a job. */
const configurationMembers = ['IsEnabled', 'Schedule']

/** Tells whether the body of a preview is that of PUT, and not that of POST. */
export function isConfiguration (body: unknown): boolean {
  return typeof body === 'object' && body !== null && configurationMembers.some(name => Object.hasOwn(body, name))
}

/** Body of a preview: that of PUT, or that of POST. */
export const PreviewBodySchema = documentedAs(Type.Unsafe<object>({
  if: { type: 'object', anyOf: configurationMembers.map(name => ({ type: 'object', required: [name] })) },
  then: configurationRef,
  else: jobRef
}), { anyOf: [configurationRef, jobRef] })

const open = { additionalProperties: true }

/**
 * Response of GET, and an item of the collection. Elements that this service does not know are additional members.
 * Enumerations are plain strings: other clients may store values that this service does not know.
 */
const StoredConfigurationSchema = Type.Object({
  Id: Type.String({ examples: [exampleId] }),
  IsEnabled: Type.Optional(Type.Boolean()),
  IncludedObjectVersions: Type.Optional(Type.String({ examples: ['All', 'Current'] })),
  Filter: Type.Optional(Type.Object({
    Prefix: Type.Optional(Type.String()),
    Tag: Type.Optional(Type.Array(Type.Object({ Key: Type.String(), Value: Type.String() }, open))),
    StorageClass: Type.Optional(documentedAs(Type.Union([Type.String(), Type.Array(Type.String())]), Type.String({
      description: 'An array if COS stores several, which its documentation does not provide for.'
    }))),
    Period: Type.Optional(Type.Object({
      StartTime: Type.Optional(Type.Integer()),
      EndTime: Type.Optional(Type.Integer())
    }, open))
  }, { ...open, description: 'Always the flat form, even if the nested form is stored.' })),
  OptionalFields: Type.Optional(Type.Object({ Field: Type.Array(Type.String()) }, open)),
  Schedule: Type.Optional(Type.Object({
    Frequency: Type.String({ examples: ['Daily', 'Weekly', 'Monthly'] }),
    MonthlyDate: Type.Optional(Type.Integer())
  }, open)),
  Destination: Type.Optional(Type.Object({
    COSBucketDestination: Type.Object({
      Bucket: Type.String(),
      Format: Type.String({ examples: ['CSV'] }),
      AccountId: Type.Optional(Type.String()),
      Prefix: Type.Optional(Type.String()),
      Encryption: Type.Optional(Type.Object({
        SSECOS: Type.Optional(Type.Object({}, {
          ...open, description: `Text that another client stored in this element is the member ${textMember}.`
        }))
      }, open))
    }, open)
  }, open))
}, {
  ...open,
  $id: 'InventoryConfiguration',
  description: 'An inventory configuration as COS stores it. Elements that this service does not know are members of ' +
    'the same name. Text is a string, and nested elements are an object. Several elements of one name are an array.',
  examples: [configurationExample]
})

/** {@link StoredConfigurationSchema}. The document names the members that COS requires in every configuration. */
export const InventoryConfigurationSchema = documentedAs(StoredConfigurationSchema, {
  ...StoredConfigurationSchema, required: ['Id', ...InventoryConfigurationInputSchema.required as string[]]
})

/** Response of GET on the collection (COS document 30627). */
export const InventoryPageSchema = Type.Object({
  InventoryConfigurations: Type.Array(refTo(InventoryConfigurationSchema)),
  IsTruncated: Type.Boolean({ description: 'Whether more configurations follow.' }),
  NextContinuationToken: Type.Optional(Type.String({
    description: 'Present if IsTruncated is true. Send it as continuation-token to get the next page.'
  }))
}, {
  $id: 'InventoryPage',
  description: 'Up to 100 configurations in order of creation. With all=true, all configurations.'
})

/** Response of POST (COS document 46869). */
export const InventoryJobSchema = Type.Object({
  JobId: Type.Optional(Type.String({ description: 'Opaque id of the job; absent if COS returned none.' }))
}, {
  ...open,
  $id: 'InventoryJob',
  description: 'The one-time job that COS accepted.',
  examples: [{ JobId: 'NTE0OTQwNTgwMTIxMzQ0NTY3OA==' }]
})

export type InventoryConfiguration = Static<typeof StoredConfigurationSchema>
export type InventoryPage = Static<typeof InventoryPageSchema>
export type InventoryJob = Static<typeof InventoryJobSchema>
