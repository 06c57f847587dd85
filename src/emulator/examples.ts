import type { EmulatorBucket } from './buckets.ts'
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
