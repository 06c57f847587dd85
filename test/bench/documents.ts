/** The documents of the upstream double and of the load, in the form of COS documents 30623, 30625 and 30627. */

/** The bucket of most requests. */
export const bucket = 'examplebucket-1250000000'

/** A bucket with pages of 100 configurations of about 8 KiB each. The double recognizes it by name. */
export const richBucket = 'richbucket-1250000000'

/** A bucket whose configurations are different in each response. */
export const changingBucket = 'changingbucket-1250000000'

/** A bucket with slow responses. */
export const slowBucket = 'slowbucket-1250000000'

/** Milliseconds of each response for {@link slowBucket}. */
export const slowMs = 100

/** The region of all buckets. */
export const region = 'ap-guangzhou'

/** Configurations per page, the limit of COS. */
export const pageSize = 100

/**
 * Ids of the requested configurations, used round-robin. All have the same length, so that all responses have the same
 * length.
 */
export const ids = Array.from({ length: 1_000 }, (_, index) => `daily-${String(index).padStart(4, '0')}`)

/** A text in every configuration. In {@link changingBucket}, a {@link revision} replaces it. */
export const owner = 'finance-platform'

/** Returns a text of the length of {@link owner}. */
export function revision (number: number): string {
  return `revision-${String(number % 10_000_000).padStart(7, '0')}`
}

const prefix = 'services/billing/production/2024/invoices/original/'
const tags = [
  ['department', 'billing and invoicing'], ['retention', 'seven years'], ['environment', 'production'],
  ['owner', owner], ['data-class', 'confidential']
] as const
const fields = ['Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'Tag', 'Crc64']
const destination = {
  Format: 'CSV',
  AccountId: '100000000001',
  Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000',
  Prefix: 'inventory/billing/production/daily'
}

/** The body of a PUT to the JSON API. It has no id, because the path has it. */
export const configuration = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Filter: { Prefix: prefix, Tag: tags.map(([Key, Value]) => ({ Key, Value })) },
  OptionalFields: { Field: fields },
  Schedule: { Frequency: 'Daily' },
  Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: {} } } }
}

/** Returns the same configuration as COS stores it: about 1 KB in one line. */
export function configurationXml (id: string): string {
  return toXml(id, tags, fields)
}

/** Returns a configuration of about 8 KiB, with 50 tags and 30 columns for user metadata. */
export function richConfigurationXml (id: string): string {
  const manyTags = Array.from({ length: 50 }, (_, index) => [`cost-centre-${index}`, `a full value of tag ${index}, `.repeat(3)] as const)
  const manyFields = Array.from({ length: 30 }, (_, index) => `x-cos-meta-some-property-${index}`)
  return toXml(id, manyTags, [...fields, ...manyFields])
}

function toXml (id: string, tags: ReadonlyArray<readonly [string, string]>, fields: string[]): string {
  return `<InventoryConfiguration><Id>${id}</Id><IsEnabled>true</IsEnabled>` +
    '<IncludedObjectVersions>All</IncludedObjectVersions>' +
    `<Filter><And><Prefix>${prefix}</Prefix>` +
    tags.map(([key, value]) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`).join('') + '</And></Filter>' +
    `<OptionalFields>${fields.map(field => `<Field>${field}</Field>`).join('')}</OptionalFields>` +
    '<Schedule><Frequency>Daily</Frequency></Schedule><Destination><COSBucketDestination>' +
    Object.entries(destination).map(([name, text]) => `<${name}>${text}</${name}>`).join('') +
    '<Encryption><SSE-COS></SSE-COS></Encryption></COSBucketDestination></Destination></InventoryConfiguration>'
}
