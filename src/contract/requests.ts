import { Type } from '@sinclair/typebox'
import { BucketName, IdSchema, JobIdSchema, Region } from './names.ts'
import { BooleanText, closed, Forbidden, StringEnum, undocumented } from './schema.ts'

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

export const bucket = BucketName('Bucket name with its APPID, in lower case. It does not begin with xn--.',
  { examples: ['examplebucket-1250000000'] })

export const region = Type.Optional(
  Region('COS region of the bucket, such as ap-guangzhou, but none of the former ones that begin with cn-. ' +
    'Overrides the configured region for this request.'))

const flag = (description: string) => Type.Optional(BooleanText({ description }))

const allowUnknown =
  flag('Sends members and values of the body that this service does not know to COS, members as elements of the same name.')

const writing = {
  region,
  // The document describes the operation for previews instead.
  'dry-run': Type.Optional(undocumented(BooleanText())),
  'allow-unknown': allowUnknown
}

const preflight = Type.Optional(StringEnum(['warn', 'enforce'], {
  description: 'Checks whether COS would accept the configuration but create no useful report. warn: lists the reasons ' +
    'in preflight-warnings. enforce: returns 400 instead, and changes nothing.'
}))

/** Path of the collection. */
export const BucketPathSchema = Type.Object({ bucket }, closed)
/** Path of one configuration. */
export const InventoryPathSchema = Type.Object({ bucket, id: IdSchema }, closed)
/** Path of a one-time job. */
export const JobPathSchema = Type.Object({ bucket, id: JobIdSchema }, closed)
/** Query of operations whose only parameter is the region. */
export const RegionQuerySchema = Type.Object({ region }, closed)
/** Query of PATCH. */
export const WriteQuerySchema = Type.Object(writing, closed)
/** Query of PUT and POST. */
export const PutQuerySchema = Type.Object({ ...writing, preflight }, closed)
/** Query of the preview of a body. */
export const PreviewQuerySchema = Type.Object({ region, 'allow-unknown': allowUnknown, preflight }, closed)
/** Query of PUT on the collection. */
export const SetQuerySchema = Type.Object({
  region,
  'allow-unknown': allowUnknown,
  'dry-run': flag('Returns the planned changes. Nothing is changed.'),
  prune: flag('Deletes the configurations that the set does not contain. Without it, they are not changed.')
}, closed)
/** Query of GET on the collection. */
export const PageQuerySchema = Type.Object({
  region,
  'continuation-token': Type.Optional(Type.String({
    maxLength: 2048,
    pattern: '^[ -~]*$',
    description: 'NextContinuationToken of the previous page, unchanged. Printable ASCII.'
  })),
  all: flag('Returns all pages as one. Not allowed together with continuation-token.')
}, {
  ...closed,
  if: { properties: { all: { type: 'string', pattern: '^[Tt]' } }, required: ['all'] },
  then: { properties: { 'continuation-token': Forbidden('is not allowed together with all=true') } }
})

const entityTag = '(W/)?"[!#-~\\x80-\\xFF]*"'
const entityTags = `^[\\s,]*(\\*|${entityTag}(\\s*,[\\s,]*${entityTag})*)[\\s,]*$`

const condition = (description: string) => Type.Optional(Type.String({
  pattern: entityTags,
  description: `An entity tag in double quotes, several with commas between them, or *. ${description}`
}))

const ifNoneMatch = condition('A read returns 304 if the ETag is one of these. A change returns 412; with *, if there is a ' +
  'configuration.')

/** Headers of reads of a configuration or report. */
export const ReadHeadersSchema = Type.Object({ 'if-none-match': ifNoneMatch })
/** Headers of reads of a data file (RFC 9110, section 14.2). */
export const RangeHeadersSchema = Type.Object({
  range: Type.Optional(Type.String({ description: 'One range of bytes. Any other value is ignored.', examples: ['bytes=0-1023'] })),
  'if-range': Type.Optional(Type.String({ description: 'The range is ignored, because the service cannot check the condition.' }))
})
/** Headers of changes (RFC 9110, section 13.1). */
export const ChangeHeadersSchema = Type.Object({
  'if-match': condition('The response is 412 unless the configuration has one of these tags.'),
  'if-none-match': ifNoneMatch
})
