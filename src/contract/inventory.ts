import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { Destination } from './destination.ts'
import { FilterInput } from './filter.ts'
import { IdSchema } from './names.ts'
import { Schedule } from './schedule.ts'
import { closed, Forbidden, StringEnum } from './schema.ts'
import { textMember } from './xml-text.ts'

const IncludedObjectVersions = StringEnum(['All', 'Current'], {
  description: 'All: reports list every version of an object and have version columns. Current: only the latest version.',
  examples: ['All']
})

const fieldNames = 'Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ReplicationStatus, Tag, ' +
  'Crc64, x-cos-meta-* or x-cos-meta-<name>'

const Field = Type.String({
  pattern: '^(Size|LastModifiedDate|ETag|StorageClass|IsMultipartUploaded|ReplicationStatus|Tag|Crc64|' +
    "x-cos-meta-[A-Za-z0-9!#$%&'*+.^_`|~-]+)$",
  description: `One of ${fieldNames}.`,
  examples: ['Size']
})

const FieldList = Type.Array(Field, { uniqueItems: true })

const OptionalFieldsInput = Type.Union([
  Type.Object({ Field: Type.Optional(FieldList) }, closed),
  FieldList
], {
  description: 'Additional columns of the report: an object with Field, or the plain array of the Node SDK.'
})

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

/** Body of PUT (COS document 30625). */
export const InventoryConfigurationInputSchema = Type.Object({
  ...jobMembers,
  IsEnabled: Type.Union([
    Type.Boolean(),
    Type.String({
      pattern: '^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$',
      description: '"true" or "false" in any letter case, as the COS SDKs send it.'
    })
  ], { description: 'Whether COS creates reports. With false, the configuration is stored but has no effect.' }),
  Schedule
}, {
  ...closed,
  $id: 'InventoryConfigurationInput',
  description: 'An inventory configuration in the form that PUT accepts.',
  examples: [configurationExample]
})

const { Id: exampleId, IsEnabled: _, Schedule: __, ...jobExample } = configurationExample

/** Body of POST (COS document 46869). It has the members of PUT except IsEnabled and Schedule. */
export const InventoryJobInputSchema = Type.Object({
  ...jobMembers,
  IsEnabled: Type.Optional(Forbidden('is not allowed in a one-time job')),
  Schedule: Type.Optional(Forbidden('is not allowed in a one-time job'))
}, {
  ...closed,
  $id: 'InventoryJobInput',
  description: 'A one-time inventory job: a configuration without IsEnabled and Schedule.',
  examples: [jobExample]
})

const open = { additionalProperties: true }

/**
 * Response of GET, and an item of the collection. Elements that this service does not know are additional members.
 * Enumerations are plain strings: other clients may store values that this service does not know.
 */
export const InventoryConfigurationSchema = Type.Object({
  Id: Type.String({ examples: [exampleId] }),
  IsEnabled: Type.Optional(Type.Boolean()),
  IncludedObjectVersions: Type.Optional(Type.String({ examples: ['All', 'Current'] })),
  Filter: Type.Optional(Type.Object({
    Prefix: Type.Optional(Type.String()),
    Tag: Type.Optional(Type.Array(Type.Object({ Key: Type.String(), Value: Type.String() }, open))),
    StorageClass: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
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
        SSECOS: Type.Optional(Type.Object({
          [textMember]: Type.Optional(Type.String({ description: 'Text that another client stored in this element.' }))
        }, open))
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

/** Response of GET on the collection (COS document 30627). */
export const InventoryPageSchema = Type.Object({
  InventoryConfigurations: Type.Array(Type.Unsafe<InventoryConfiguration>({ $ref: 'InventoryConfiguration#' })),
  IsTruncated: Type.Boolean({ description: 'Whether more configurations follow.' }),
  NextContinuationToken: Type.Optional(Type.String({
    description: 'Present if IsTruncated is true. Send it as continuation-token to get the next page.'
  }))
}, {
  $id: 'InventoryPage',
  description: 'Up to 100 configurations in order of creation. With all=true, all configurations.',
  examples: [{ InventoryConfigurations: [configurationExample], IsTruncated: false }]
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

export type InventoryConfiguration = Static<typeof InventoryConfigurationSchema>
export type InventoryPage = Static<typeof InventoryPageSchema>
export type InventoryJob = Static<typeof InventoryJobSchema>
