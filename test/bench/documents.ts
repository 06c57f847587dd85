/** What the upstream double holds and the load asks for, as COS documents 30623, 30625 and 30627 have it. */

/** The bucket most requests are about. */
export const bucket = 'examplebucket-1250000000'

/** A bucket whose page holds 100 configurations of some 8 KiB each; the double knows it by its name. */
export const richBucket = 'richbucket-1250000000'

/** A bucket whose configurations are never twice the same, likewise. */
export const changingBucket = 'changingbucket-1250000000'

/** A bucket the double takes its time for, likewise. */
export const slowBucket = 'slowbucket-1250000000'

/** How long it takes for each answer about {@link slowBucket}. */
export const slowMs = 100

/** Where all buckets are. */
export const region = 'ap-guangzhou'

/** How many configurations a page has: COS gives no more at once. */
export const pageSize = 100

/** Ids of the configurations asked for, in turn. All of one length, so that every right answer has the same length. */
export const ids = Array.from({ length: 1_000 }, (_, index) => `daily-${String(index).padStart(4, '0')}`)

/** A text in every configuration, in whose place those of {@link changingBucket} have a {@link revision}. */
export const owner = 'finance-platform'

/** As long as {@link owner}. */
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

/** The body of a PUT of the JSON API, without an id: the one of the path counts. */
export const configuration = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Filter: { Prefix: prefix, Tag: tags.map(([Key, Value]) => ({ Key, Value })) },
  OptionalFields: { Field: fields },
  Schedule: { Frequency: 'Daily' },
  Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: {} } } }
}

/** The same as COS holds it: about 1 KB in one line. */
export function configurationXml (id: string): string {
  return toXml(id, tags, fields)
}

/** A configuration of about 8 KiB: 50 tags and 30 columns of the report that are user metadata. */
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
