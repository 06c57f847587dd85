import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { BucketName, IdSchema } from './names.ts'
import { bucket, region } from './requests.ts'
import { closed, component, documentedAs, PatternInteger, refTo } from './schema.ts'
import { XmlText } from './xml-text.ts'

const Digits = Type.String({ pattern: '^[0-9]+$' })

const commonMembers = {
  Id: Type.String({ description: 'Id of the configuration or job.' }),
  Date: Type.String({ description: 'Day of the report as COS names it, YYYYMMDD.' }),
  DeliveredAt: Type.String({ format: 'date-time', description: 'When COS wrote the manifest.' }),
  AgeSeconds: Type.Integer({ minimum: 0, description: 'Seconds since DeliveredAt. Not part of the entity tag.' }),
  Stale: Type.Optional(Type.Boolean({
    description: 'Whether AgeSeconds exceeds StaleAfterSeconds. Absent if the configuration is disabled or unknown.'
  })),
  StaleAfterSeconds: Type.Optional(Type.Integer({ description: 'The interval of the schedule plus one day.' })),
  IsComplete: Type.Boolean({
    description: 'Whether manifest.checksum exists. False only in a list: GET of such a report returns ReportIncomplete.'
  }),
  Manifest: component('Manifest', Type.Object({
    Bucket: Type.String({ description: 'The destination bucket.' }),
    Region: Type.Optional(Type.String()),
    Key: Type.String(),
    ETag: Type.String(),
    Size: Type.Integer({ description: 'Bytes.' }),
    Resource: Type.Optional(Type.String({ description: 'The manifest in the form that COS Batch asks for.' }))
  }, { ...closed, description: 'The manifest of a report.' }))
}

const commonExample = {
  Id: 'daily-report',
  Date: '20261120',
  DeliveredAt: '2026-11-20T02:41:07.000Z',
  AgeSeconds: 11_933,
  Stale: false,
  StaleAfterSeconds: 172_800,
  IsComplete: true,
  Manifest: {
    Bucket: 'examplebucket-1250000000',
    Region: 'ap-guangzhou',
    Key: 'list1/1250000000/examplebucket/daily-report/20261120/manifest.json',
    ETag: '"0cdbb03bfd84e6a8bb1d4ee5d5d3bd08"',
    Size: 1042,
    Resource: 'qcs::cos:ap-guangzhou::examplebucket-1250000000/list1/1250000000/examplebucket/daily-report/20261120/manifest.json'
  }
}

/** A report in a list. Its manifest is not read. */
export const ReportSummarySchema = Type.Object(commonMembers, {
  $id: 'ReportSummary', description: 'A delivered report.', examples: [commonExample]
})

/** Response of GET on the reports of a configuration. */
export const ReportListSchema = Type.Object({
  Reports: Type.Array(refTo(ReportSummarySchema), { description: 'The latest first.' }),
  IsTruncated: Type.Boolean({ description: 'Whether there are older reports between from and to.' })
}, { ...closed, $id: 'ReportList', description: 'Delivered reports.' })

const ownMembers = {
  IsVerified: Type.Boolean({ description: 'Always true: the MD5 of the manifest is that of manifest.checksum. A report with another is ReportCorrupt.' }),
  ListObjectCount: Type.Optional(Type.Integer({ description: 'Objects in the bucket.' })),
  ListStorageSize: Type.Optional(Digits),
  FilterObjectCount: Type.Optional(Type.Integer({ description: 'Objects in the report.' })),
  FilterStorageSize: Type.Optional(Digits),
  FileFormat: Type.String({ examples: ['CSV'] }),
  Fields: Type.Array(Type.String(), { description: 'Columns of this report.' }),
  Files: Type.Array(Type.Object({
    Key: Type.String(),
    Size: Type.Optional(Type.Integer({ description: 'Bytes of the compressed file.' })),
    MD5: Type.Optional(Type.String({ description: 'MD5 of the compressed file, in hex.' }))
  }, closed), { description: 'Data files, by the index that rows and files take.' })
}

const ofReport = {
  $id: 'Report',
  description: 'A delivered report with what its manifest says. ListStorageSize and FilterStorageSize are bytes as strings, because they can exceed 2^53.',
  examples: [{
    ...commonExample,
    IsVerified: true,
    ListObjectCount: 13,
    ListStorageSize: '7212835',
    FilterObjectCount: 13,
    FilterStorageSize: '7212835',
    FileFormat: 'CSV',
    Fields: ['Appid', 'Bucket', 'Key', 'Size'],
    Files: [{ Key: 'list1/1250000000/examplebucket/daily-report/7d40c1c1cbf4bb3df8d1b4b6fe1e2f52.csv.gz', Size: 502, MD5: '7d40c1c1cbf4bb3df8d1b4b6fe1e2f52' }]
  }]
}

/** Response of GET on one report. */
export const ReportSchema = documentedAs(Type.Object({ ...commonMembers, ...ownMembers }, ofReport),
  { allOf: [refTo(ReportSummarySchema), Type.Object(ownMembers)], ...ofReport })

/** A line of the rows of a report. */
export const ReportRowSchema = Type.Object({
  Key: Type.Optional(Type.String({ description: 'The decoded key of the object.' })),
  EncodedKey: Type.Optional(Type.String({
    description: 'The key as the report has it. Present if it cannot be decoded, or if a + in it may be a blank.'
  })),
  Size: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  IsMultipartUploaded: Type.Optional(Type.Union([Type.Boolean(), Type.String(), Type.Null()])),
  IsLatest: Type.Optional(Type.Union([Type.Boolean(), Type.String(), Type.Null()])),
  IsDeleteMarker: Type.Optional(Type.Union([Type.Boolean(), Type.String(), Type.Null()]))
}, {
  // A schema of the other columns would contradict the named ones in the types of generated clients.
  additionalProperties: true,
  $id: 'ReportRow',
  description: 'One object of the source bucket. All other columns are text; an empty value is null.',
  examples: [{ Appid: '1250000000', Bucket: 'examplebucket', Key: 'a b.txt', Size: 1024, StorageClass: 'STANDARD' }]
})

export type ReportSummary = Static<typeof ReportSummarySchema>
export type ReportList = Static<typeof ReportListSchema>
export type Report = Static<typeof ReportSchema>

const date = (description: string) => Type.String({ pattern: '^20[0-9]{6}$', description, examples: ['20261120'] })

const source = {
  region,
  destination: Type.Optional(BucketName('Reads in this bucket (BucketName-APPID) instead of the destination of the ' +
    'stored configuration, for one-time jobs, deleted configurations and former destinations. The configuration is not read.')),
  prefix: Type.Optional(XmlText('With destination: the prefix of the destination.', 'list1'))
}

const needsDestination = { ...closed, if: { required: ['prefix'] }, then: { required: ['destination'] } }

const fileIndex = (description: string) =>
  PatternInteger('^(0|[1-9][0-9]{0,4})$', { minimum: 0, maximum: 99_999 }, description)

/** Path of the reports of a configuration. */
export const ReportsPathSchema = Type.Object({ bucket, id: IdSchema }, closed)
/** Path of the report of a day. */
export const ReportPathSchema = Type.Object({ bucket, id: IdSchema, date: date('Day of the report, YYYYMMDD.') }, closed)
/** Path of a data file. */
export const ReportFilePathSchema = Type.Object({
  bucket,
  id: IdSchema,
  date: date('Day of the report, YYYYMMDD.'),
  file: fileIndex('Index of the data file in Files, from 0.')
}, closed)

/** Query of the list of reports. */
export const ReportListQuerySchema = Type.Object({
  ...source,
  from: Type.Optional(date('The first day, YYYYMMDD.')),
  to: Type.Optional(date('The last day, YYYYMMDD.')),
  limit: Type.Optional(PatternInteger('^([1-9][0-9]?|[1-4][0-9]{2}|500)$', { minimum: 1, maximum: 500, default: 31 },
    'Most reports, 1 to 500. The default is 31.'))
}, needsDestination)

/** Query of one report, and of a data file. */
export const ReportQuerySchema = Type.Object(source, needsDestination)

/** Query of rows. */
export const RowsQuerySchema = Type.Object({
  ...source,
  fields: Type.Optional(Type.String({
    minLength: 1,
    maxLength: 4096,
    description: 'Columns to return, comma separated, such as Key,Size. All if absent.'
  })),
  'key-prefix': Type.Optional(Type.String({ maxLength: 1024, description: 'Returns only objects whose decoded key begins with this text.' })),
  limit: Type.Optional(PatternInteger('^[1-9][0-9]{0,14}$', { minimum: 1, maximum: 999_999_999_999_999 },
    'Most rows. Reading ends there, so that the rest of the data file is not verified.')),
  file: Type.Optional(
    fileIndex('Index of the only data file to read, from 0. Several clients can read the report of a day in parallel.'))
}, needsDestination)
