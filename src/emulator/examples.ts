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

/**
 * Delivers a report of 5,000 generated objects in two data files, which are the contents of the bucket from then on.
 *
 * @param bucket the source bucket
 * @param id of a stored configuration or a one-time job
 * @throws ReportRejection when there is no such job, or it cannot have a report
 */
export async function deliverExampleReport (
  emulator: Pick<Emulator, 'deliverReport'>, bucket: string, id: string
): Promise<DeliveredReport> {
  return await emulator.deliverReport({ bucket, id, count: 5000, seed: 1, form: { rowsPerFile: 3000 } })
}
