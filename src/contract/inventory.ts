import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { Forbidden, StringEnum } from './schema.ts'

const bucketName = '(?!xn--)[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9]+'

/**
 * `BucketName-APPID` (COS document 13312); at most 63 characters, the length of one DNS label (RFC 1035), and none that
 * would be read as another name (RFC 5890).
 */
export const bucketPattern = `^${bucketName}$`
export const bucketMaxLength = 63

/**
 * A region id such as `ap-guangzhou` (COS document 6224). The list grows, so only the shape is checked;
 * the retired `cn-*` ids name no host any more.
 */
export const regionPattern = '^(?!cn-)[a-z0-9]+(-[a-z0-9]+)+$'

/** COS names no longest id; 128 is this service's own limit. `.` and `..` are lost in URL normalisation. */
const idPattern = '^(?!\\.{1,2}$)[A-Za-z0-9._-]{1,128}$'

/** The characters XML 1.0 can hold (section 2.2): no control characters but tab, LF and CR, no lone surrogates. */
const xmlTextPattern = '^[\\t\\n\\r\\u0020-\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]*$'

const xmlText = new RegExp(xmlTextPattern, 'u')

/** Whether XML 1.0 can hold a text. */
export function isXmlText (text: string): boolean {
  return xmlText.test(text)
}

/**
 * The member that is the text of SSECOS. COS documents SSE-COS as empty, but some clients store a text in it. No XML
 * name begins with `#`.
 */
export const textMember = '#text'

const XmlText = (description: string, example: string) => Type.String({
  pattern: xmlTextPattern,
  description: `${description} Any text without control characters but tab, LF and CR.`,
  examples: [example]
})

const closed = { additionalProperties: false }

const IncludedObjectVersions = StringEnum(['All', 'Current'], {
  description: 'All lists every version of an object and adds the version columns; Current only the latest.',
  examples: ['All']
})

const MonthlyDate = Type.Integer({
  minimum: 1,
  maximum: 31,
  description: 'Day of the month, 1 to 31. Required with Frequency Monthly, refused with any other.',
  examples: [1]
})

const Schedule = Type.Object({
  Frequency: StringEnum(['Daily', 'Weekly', 'Monthly'], { examples: ['Daily'] }),
  MonthlyDate: Type.Optional(MonthlyDate)
}, {
  ...closed,
  description: 'How often COS makes a report.',
  if: { properties: { Frequency: { const: 'Monthly' } }, required: ['Frequency'] },
  then: { properties: { Frequency: {}, MonthlyDate: {} }, required: ['MonthlyDate'] },
  else: { properties: { Frequency: {}, MonthlyDate: Forbidden('is only allowed with Frequency Monthly') } }
})

const Prefix = XmlText('Only objects whose key begins with this are listed.', 'myPrefix')

const Tag = Type.Object({
  Key: XmlText('Tag key.', 'age'),
  Value: XmlText('Tag value.', '18')
}, closed)

const Tags = Type.Array(Tag, { description: 'Only objects that carry all of these tags are listed.' })

const StorageClass = XmlText('Only objects of this storage class are listed.', 'STANDARD')

const EpochSeconds = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'Seconds since 1970-01-01T00:00:00Z.',
  examples: [1687276800]
})

const Period = Type.Object({
  StartTime: Type.Optional(EpochSeconds),
  EndTime: Type.Optional(EpochSeconds)
}, { ...closed, description: 'Only objects of this time span are listed.' })

const flatConditions = {
  Prefix: Type.Optional(Prefix),
  Tag: Type.Optional(Tags),
  StorageClass: Type.Optional(StorageClass)
}
const besideAnd = Forbidden('is not allowed here when And holds conditions: use one form or the other')

const FilterInput = Type.Object({
  ...flatConditions,
  Period: Type.Optional(Period),
  And: Type.Optional(Type.Object(flatConditions, {
    ...closed,
    description: 'The nested form of the COS SDKs, read as if its members stood in Filter itself.'
  }))
}, {
  ...closed,
  description: 'Which objects are listed; without it, all.',
  if: {
    required: ['And'],
    properties: {
      And: { type: 'object', anyOf: Object.keys(flatConditions).map(name => ({ properties: { [name]: {} }, required: [name] })) }
    }
  },
  then: { properties: { And: {}, Period: {}, Prefix: besideAnd, Tag: besideAnd, StorageClass: besideAnd } }
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
  description: 'Columns of the report beyond the default ones: an object with Field, or the bare array of the Node SDK.'
})

const Encryption = Type.Object({
  SSECOS: Type.Optional(Type.Union([
    Type.Object({}, closed),
    Type.String({ maxLength: 0, description: 'Must be empty.' })
  ], { description: 'Encryption with keys COS manages (SSE-COS on the wire). Has no members.' }))
}, { ...closed, description: 'How the report is encrypted; without it, as the destination bucket says.' })

const Destination = Type.Object({
  COSBucketDestination: Type.Object({
    Bucket: Type.String({
      pattern: `^qcs::cos:[a-z0-9-]+::${bucketName}$`,
      maxLength: 137,
      description: 'Bucket the report is delivered to, as qcs::cos:<region>::<BucketName-APPID>.',
      examples: ['qcs::cos:ap-guangzhou::examplebucket-1250000000']
    }),
    Format: StringEnum(['CSV'], { description: 'CSV, compressed with gzip.', examples: ['CSV'] }),
    AccountId: Type.Optional(Type.String({
      pattern: '^[0-9]+$',
      description: 'Account that owns the destination bucket: a string of digits.',
      examples: ['100000000001']
    })),
    Prefix: Type.Optional(XmlText('Path of the report in the destination bucket; COS adds a slash.', 'list1')),
    Encryption: Type.Optional(Encryption)
  }, closed)
}, { ...closed, description: 'Where the report is delivered.' })

/** Name of a configuration, in a path or a body. */
export const IdSchema = Type.String({
  pattern: idPattern,
  description: 'Name of the configuration: 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..',
  examples: ['daily-report']
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

/** Body of PUT (COS documents 30625). */
export const InventoryConfigurationInputSchema = Type.Object({
  ...jobMembers,
  IsEnabled: Type.Union([
    Type.Boolean(),
    Type.String({
      pattern: '^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$',
      description: '"true" or "false" in any case, as the COS SDKs write it.'
    })
  ], { description: 'true, or false to keep the configuration but make no report.' }),
  Schedule
}, {
  ...closed,
  $id: 'InventoryConfigurationInput',
  description: 'An inventory job as callers write it.',
  examples: [configurationExample]
})

const { Id: exampleId, IsEnabled: _, Schedule: __, ...jobExample } = configurationExample

/** Body of POST (COS document 46869): PUT's without IsEnabled and Schedule. */
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
 * Answer of GET and item of the collection. Open on purpose: what COS says beyond this is passed on under its
 * own names, and enumerations are plain strings because COS echoes what was stored.
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
  }, { ...open, description: 'Always flat, whichever form is stored.' })),
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
          [textMember]: Type.Optional(Type.String({ description: 'Text that another client has stored in it.' }))
        }, open))
      }, open))
    }, open)
  }, open))
}, {
  ...open,
  $id: 'InventoryConfiguration',
  description: 'An inventory configuration as COS holds it. Elements this service does not know are kept under ' +
    'their own names: text as a string, nested elements as an object, repeated ones as an array.',
  examples: [configurationExample]
})

/** Answer of GET on the collection (COS document 30627). */
export const InventoryPageSchema = Type.Object({
  InventoryConfigurations: Type.Array(Type.Unsafe<InventoryConfiguration>({ $ref: 'InventoryConfiguration#' })),
  IsTruncated: Type.Boolean({ description: 'Whether more configurations follow.' }),
  NextContinuationToken: Type.Optional(Type.String({
    description: 'Only when truncated: give it as continuation-token to get the next page.'
  }))
}, {
  $id: 'InventoryPage',
  description: 'Up to 100 configurations in the order they were created, or all of them with all=true.',
  examples: [{ InventoryConfigurations: [configurationExample], IsTruncated: false }]
})

/** Answer of POST (COS document 46869). */
export const InventoryJobSchema = Type.Object({
  JobId: Type.Optional(Type.String({ description: 'Opaque; absent where COS names none.' }))
}, {
  ...open,
  $id: 'InventoryJob',
  description: 'The one-time job COS accepted.',
  examples: [{ JobId: 'NTE0OTQwNTgwMTIxMzQ0NTY3OA==' }]
})

export type InventoryConfiguration = Static<typeof InventoryConfigurationSchema>
export type InventoryPage = Static<typeof InventoryPageSchema>
export type InventoryJob = Static<typeof InventoryJobSchema>
