import { Type } from '@sinclair/typebox'
import { bucketName } from './names.ts'
import { closed, StringEnum } from './schema.ts'
import { XmlText } from './xml-text.ts'

const Encryption = Type.Object({
  SSECOS: Type.Optional(Type.Union([
    Type.Object({}, closed),
    Type.String({ maxLength: 0, description: 'Must be empty.' })
  ], { description: 'Encryption with keys COS manages (SSE-COS on the wire). Has no members.' }))
}, { ...closed, description: 'How the report is encrypted; without it, as the destination bucket says.' })

/** The destination of a configuration or job. */
export const Destination = Type.Object({
  COSBucketDestination: Type.Object({
    Bucket: Type.String({
      pattern: `^qcs::cos:[a-z0-9-]+::${bucketName}$`,
      maxLength: 137,
      description: 'Bucket the report is delivered to, as qcs::cos:<region>::<BucketName-APPID>.',
      examples: ['qcs::cos:ap-guangzhou::examplebucket-1250000000']
    }),
    Format: StringEnum(['CSV'], { description: 'CSV, compressed with gzip.', examples: ['CSV'] }),
    AccountId: Type.Optional(Type.String({
      pattern: '^[0-9]+$',
      description: 'Account that owns the destination bucket: a string of digits.',
      examples: ['100000000001']
    })),
    Prefix: Type.Optional(XmlText('Path of the report in the destination bucket; COS adds a slash.', 'list1')),
    Encryption: Type.Optional(Encryption)
  }, closed)
}, { ...closed, description: 'Where the report is delivered.' })
