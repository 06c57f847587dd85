import { Type } from '@sinclair/typebox'
import { bucketMaxLength, bucketPattern, IdSchema, regionPattern } from './names.ts'
import { closed, Forbidden, StringEnum } from './schema.ts'

/** The most bytes of a request body (256 KiB): about a thousand times a usual configuration. */
export const maxBodyBytes = 256 * 1024

/** The most bytes of a desired set (1 MiB): a thousand usual configurations have half of it. */
export const maxSetBytes = 1024 * 1024

/**
 * The most values of one configuration: objects, lists and everything in them. Validation of so many invalid ones takes
 * some 20 ms. Every documented configuration has fewer than 100.
 */
export const maxBodyValues = 5_000

/** The most values of a desired set: 50 for each of 1,000 configurations. A usual configuration has 25. */
export const maxSetValues = 50_000

const bucket = Type.String({
  pattern: bucketPattern,
  maxLength: bucketMaxLength,
  description: 'Bucket name with its APPID, lower case, as COS names buckets.',
  examples: ['examplebucket-1250000000']
})

const region = Type.Optional(Type.String({
  pattern: regionPattern,
  maxLength: 63,
  // Swagger UI would fill in an example, which would override the configured region.
  description: 'COS region of the bucket, such as ap-guangzhou. Overrides the configured one for this call.'
}))

const flag = (description: string) => Type.Optional(StringEnum(['true', 'false'], { description }))

const writing = {
  region,
  'dry-run': flag('Validate and answer exactly the XML that would be sent, and change nothing.'),
  'allow-unknown': flag('Send body properties this service does not know to COS as elements of the same name.')
}

/** Path of the collection. */
export const BucketPathSchema = Type.Object({ bucket }, closed)
/** Path of one configuration. */
export const InventoryPathSchema = Type.Object({ bucket, id: IdSchema }, closed)
/** Query of operations that take nothing but a region. */
export const RegionQuerySchema = Type.Object({ region }, closed)
/** Query of PATCH. */
export const WriteQuerySchema = Type.Object(writing, closed)
/** Query of PUT and POST. */
export const PutQuerySchema = Type.Object({
  ...writing,
  preflight: Type.Optional(StringEnum(['warn', 'enforce'], {
    description: 'Look for what COS takes but makes no useful report of. warn: change all the same and say so in ' +
      'preflight-warnings; enforce: answer 400 instead.'
  }))
}, closed)
/** Query of PUT on the collection. */
export const SetQuerySchema = Type.Object({
  ...writing,
  'dry-run': flag('Answer what would be changed, and change nothing.'),
  prune: flag('Delete the configurations that the set does not name. Without it they are left alone.')
}, closed)
/** Query of GET on the collection. */
export const PageQuerySchema = Type.Object({
  region,
  'continuation-token': Type.Optional(Type.String({
    maxLength: 2048,
    pattern: '^[\\u0020-\\u007E]*$',
    description: 'NextContinuationToken of the page before, exactly as it was answered. Printable ASCII.'
  })),
  all: flag('Walk every page and answer them as one. Not together with continuation-token.')
}, {
  ...closed,
  if: { properties: { all: { const: 'true' } }, required: ['all'] },
  then: { properties: { 'continuation-token': Forbidden('is not allowed together with all=true') } }
})

const entityTag = '(W/)?"[!#-~\\u0080-\\u00FF]*"'
const entityTags = `^[\\s,]*(\\*|${entityTag}(\\s*,[\\s,]*${entityTag})*)[\\s,]*$`

const condition = (description: string) => Type.Optional(Type.String({
  pattern: entityTags,
  description: `An entity tag in double quotes, several with commas between them, or * for any there is: ${description}`
}))

/** Headers of reads. */
export const ReadHeadersSchema = Type.Object({
  'if-none-match': condition('answer 304 when the configuration is still this one.')
})
/** Headers of changes (RFC 9110, section 13.1). */
export const ChangeHeadersSchema = Type.Object({
  'if-match': condition('change the configuration only if it is this one, else answer 412.'),
  'if-none-match': condition('change the configuration only if it is not this one, with * only if there is none, else answer 412.')
})
