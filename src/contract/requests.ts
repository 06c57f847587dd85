import { Type } from '@sinclair/typebox'
import { bucketMaxLength, bucketPattern, IdSchema, regionPattern } from './names.ts'
import { closed, Forbidden, StringEnum } from './schema.ts'

/** The most bytes of a request body (256 KiB), about a thousand times a typical configuration. */
export const maxBodyBytes = 256 * 1024

/** The most bytes of a desired set (1 MiB), about twice a thousand typical configurations. */
export const maxSetBytes = 1024 * 1024

/**
 * The most values of one configuration, counting objects, lists and all their members. Validation of as many invalid
 * values takes about 20 ms. Every documented configuration has fewer than 100 values.
 */
export const maxBodyValues = 5_000

/** The most values of a desired set: 50 for each of 1,000 configurations. A typical configuration has 25. */
export const maxSetValues = 50_000

export const bucket = Type.String({
  pattern: bucketPattern,
  maxLength: bucketMaxLength,
  description: 'Bucket name with its APPID, in lower case.',
  examples: ['examplebucket-1250000000']
})

export const region = Type.Optional(Type.String({
  pattern: regionPattern,
  maxLength: 63,
  // Swagger UI would send an example, which would override the configured region.
  description: 'COS region of the bucket, such as ap-guangzhou. Overrides the configured region for this request.'
}))

const flag = (description: string) => Type.Optional(StringEnum(['true', 'false'], { description }))

const writing = {
  region,
  'dry-run': flag('Validates the request and returns the exact XML that would be sent. Nothing is changed.'),
  'allow-unknown': flag('Sends body properties that this service does not know to COS, as elements of the same name.')
}

/** Path of the collection. */
export const BucketPathSchema = Type.Object({ bucket }, closed)
/** Path of one configuration. */
export const InventoryPathSchema = Type.Object({ bucket, id: IdSchema }, closed)
/** Query of operations whose only parameter is the region. */
export const RegionQuerySchema = Type.Object({ region }, closed)
/** Query of PATCH. */
export const WriteQuerySchema = Type.Object(writing, closed)
/** Query of PUT and POST. */
export const PutQuerySchema = Type.Object({
  ...writing,
  preflight: Type.Optional(StringEnum(['warn', 'enforce'], {
    description: 'Checks whether COS would accept the configuration but create no useful report. warn: makes the ' +
      'change and lists the reasons in preflight-warnings. enforce: returns 400 instead.'
  }))
}, closed)
/** Query of PUT on the collection. */
export const SetQuerySchema = Type.Object({
  ...writing,
  'dry-run': flag('Returns the planned changes. Nothing is changed.'),
  prune: flag('Deletes the configurations that the set does not contain. Without it, they are not changed.')
}, closed)
/** Query of GET on the collection. */
export const PageQuerySchema = Type.Object({
  region,
  'continuation-token': Type.Optional(Type.String({
    maxLength: 2048,
    pattern: '^[\\u0020-\\u007E]*$',
    description: 'NextContinuationToken of the previous page, unchanged. Printable ASCII.'
  })),
  all: flag('Returns all pages as one. Not allowed together with continuation-token.')
}, {
  ...closed,
  if: { properties: { all: { const: 'true' } }, required: ['all'] },
  then: { properties: { 'continuation-token': Forbidden('is not allowed together with all=true') } }
})

const entityTag = '(W/)?"[!#-~\\u0080-\\u00FF]*"'
const entityTags = `^[\\s,]*(\\*|${entityTag}(\\s*,[\\s,]*${entityTag})*)[\\s,]*$`

const condition = (description: string, subject = 'configuration') => Type.Optional(Type.String({
  pattern: entityTags,
  description: `An entity tag in double quotes, several with commas between them, or * for any ${subject}. ${description}`
}))

/** Headers of reads of configurations. */
export const ReadHeadersSchema = Type.Object({
  'if-none-match': condition('The response is 304 if the configuration has one of these tags.')
})
/** Headers of reads of a report. */
export const ReportHeadersSchema = Type.Object({
  'if-none-match': condition('The response is 304 if the report has one of these tags.', 'report')
})
/** Headers of reads of a data file (RFC 9110, section 14.2). */
export const RangeHeadersSchema = Type.Object({
  range: Type.Optional(Type.String({ description: 'One range of bytes. Any other value is ignored.', examples: ['bytes=0-1023'] })),
  'if-range': Type.Optional(Type.String({ description: 'The range is ignored, because the service cannot check the condition.' }))
})
/** Headers of changes (RFC 9110, section 13.1). */
export const ChangeHeadersSchema = Type.Object({
  'if-match': condition('The response is 412 unless the configuration has one of these tags.'),
  'if-none-match': condition('The response is 412 if the configuration has one of these tags. With *, none may exist.')
})
