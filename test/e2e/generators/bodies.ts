/** The bodies of the scenario that all generated clients run, and its results. */

const destination = { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::examplebucket-1250000000', Format: 'CSV' } }

export const configuration = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Filter: { Prefix: 'logs/', Tag: [{ Key: 'age', Value: '18' }] },
  OptionalFields: { Field: ['Size', 'Tag', 'x-cos-meta-*'] },
  Schedule: { Frequency: 'Daily' },
  Destination: destination
}

export const job = { IncludedObjectVersions: 'Current', Destination: destination }

export const patch = { IsEnabled: false, Filter: null }

/** The results of the scenario: statuses, codes of problems, and parts of bodies. */
export interface Results {
  created: number
  again: string | undefined
  unchanged: number
  putBack: number
  patched: boolean | undefined
  applied: number | undefined
  listed: number
  invalid: string | undefined
  preview: string | undefined
  started: string
  missing: number
}

export const expected: Results = {
  created: 204,
  again: 'PreconditionFailed',
  unchanged: 304,
  putBack: 204,
  patched: false,
  applied: 250,
  listed: 250,
  invalid: 'ValidationFailed',
  preview: '<InventoryConfiguration>',
  started: 'string',
  missing: 404
}
