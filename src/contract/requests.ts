import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { bucketMaxLength, bucketPattern, idPattern, regionPattern } from './inventory.ts'
import { Forbidden, StringEnum } from './schema.ts'

/** A request body holds at most this many bytes (256 KiB): about a thousand times a usual configuration. */
export const maxBodyBytes = 256 * 1024

const closed = { additionalProperties: false }

const bucket = Type.String({
  pattern: bucketPattern,
  maxLength: bucketMaxLength,
  description: 'Bucket name with its APPID, lower case, as COS names buckets.',
  examples: ['examplebucket-1250000000']
})

const id = Type.String({
  pattern: idPattern,
  description: 'Name of the configuration: 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..',
  examples: ['daily-report']
})

const region = Type.Optional(Type.String({
  pattern: regionPattern,
  maxLength: 63,
  description: 'COS region of the bucket, such as ap-guangzhou. Overrides the configured one for this call.',
  examples: ['ap-guangzhou']
}))

const flag = (description: string) => Type.Optional(StringEnum(['true', 'false'], { description }))

const writing = {
  region,
  'dry-run': flag('Validate and answer exactly the XML that would be sent, and send nothing.'),
  'allow-unknown': flag('Send body properties this service does not know to COS as elements of the same name.')
}

export const BucketPathSchema = Type.Object({ bucket }, closed)
export const InventoryPathSchema = Type.Object({ bucket, id }, closed)
export const RegionQuerySchema = Type.Object({ region }, closed)
export const WriteQuerySchema = Type.Object(writing, closed)
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

export type InventoryPath = Static<typeof InventoryPathSchema>
export type PageQuery = Static<typeof PageQuerySchema>
export type WriteQuery = Static<typeof WriteQuerySchema>
