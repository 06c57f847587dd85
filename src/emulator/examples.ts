import type { EmulatorBucket } from './buckets.ts'
import type { EmulatorCredential } from './verify-signature.ts'

/** The key pair in force when none is configured: of the right shape, known to everybody, worth nothing. */
export const exampleCredential: EmulatorCredential = {
  secretId: 'AKIDEMULATOREXAMPLEEXAMPLEEXAMPLE000',
  secretKey: 'EmulatorExampleKeyNotASecret0000'
}

/** The buckets there are when none are configured: two regions, so that "another region" can be tried. */
export const exampleBuckets: EmulatorBucket[] = [
  { name: 'examplebucket-1250000000', region: 'ap-guangzhou' },
  { name: 'reports-1250000000', region: 'ap-guangzhou' },
  { name: 'logs-1250000000', region: 'ap-shanghai' }
]
