import type { EmulatorBucket } from './buckets.ts'
import type { Emulator } from './emulator.ts'
import type { DeliveredReport } from './reports/write-report.ts'
import type { EmulatorCredential } from './verify-signature.ts'

/** The key pair when none is configured. It has a valid form, but is public and useless elsewhere. */
export const exampleCredential: EmulatorCredential = {
  secretId: 'AKIDEMULATOREXAMPLEEXAMPLEEXAMPLE000',
  secretKey: 'EmulatorExampleKeyNotASecret0000'
}

/** The buckets when none are configured. They are in two regions, to show errors of another region. */
export const exampleBuckets: EmulatorBucket[] = [
  { name: 'examplebucket-1250000000', region: 'ap-guangzhou' },
  { name: 'reports-1250000000', region: 'ap-guangzhou' },
  { name: 'logs-1250000000', region: 'ap-shanghai' }
]

const reportedBucket = 'logs-1250000000'
const reportedId = 'all-objects'

/** The configuration of the example report. */
const reportedXml = `<InventoryConfiguration><Id>${reportedId}</Id><IsEnabled>true</IsEnabled>` +
  '<IncludedObjectVersions>Current</IncludedObjectVersions><OptionalFields><Field>Size</Field>' +
  '<Field>LastModifiedDate</Field><Field>ETag</Field><Field>StorageClass</Field></OptionalFields>' +
  '<Schedule><Frequency>Daily</Frequency></Schedule><Destination><COSBucketDestination>' +
  `<Bucket>qcs::cos:ap-shanghai::${reportedBucket}</Bucket><Format>CSV</Format><Prefix>inventory</Prefix>` +
  '</COSBucketDestination></Destination></InventoryConfiguration>'

/**
 * Stores a configuration in one of the example buckets, and delivers its report of 5,000 generated objects in two data
 * files, which are the contents of the bucket from then on.
 */
export async function deliverExampleReport (
  emulator: Pick<Emulator, 'putConfiguration' | 'deliverReport'>
): Promise<DeliveredReport> {
  emulator.putConfiguration(reportedBucket, reportedId, reportedXml)
  return await emulator.deliverReport(
    { bucket: reportedBucket, id: reportedId, count: 5000, seed: 1, form: { rowsPerFile: 3000 } })
}
