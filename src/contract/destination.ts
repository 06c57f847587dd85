import { Type } from '@sinclair/typebox'
import { bucketName } from './names.ts'
import { closed, component, documentedAs, PatternText, Word } from './schema.ts'
import { XmlText } from './xml-text.ts'

// The document does not close it. Generators create a type for a closed empty object to which nothing is assignable.
const ofEncryption = { description: 'Encryption with keys that COS manages (element SSE-COS in XML). It has no members.' }

const Encryption = Type.Object({
  SSECOS: Type.Optional(documentedAs(Type.Union([
    Type.Object({}, closed),
    Type.String({ maxLength: 0, description: 'Must be empty.' })
  ], { description: 'an object without members, or an empty text' }), Type.Object({}, { additionalProperties: true, ...ofEncryption })))
}, { ...closed, description: 'Encryption of the report. Without it, the setting of the destination bucket applies.' })

/** The destination of a configuration or job. */
export const Destination = component('Destination', Type.Object({
  COSBucketDestination: Type.Object({
    Bucket: PatternText(`^qcs::cos:[a-z0-9-]+::${bucketName}$`, {
      maxLength: 137,
      description: 'Bucket of the report, in the form qcs::cos:<region>::<BucketName-APPID>.',
      examples: ['qcs::cos:ap-guangzhou::examplebucket-1250000000']
    }),
    Format: Word(['CSV'], { description: 'CSV, compressed with gzip.', examples: ['CSV'] }),
    AccountId: Type.Optional(Type.String({
      pattern: '^[0-9]+$',
      description: 'Id of the account that owns the destination bucket: a string of digits.',
      examples: ['100000000001']
    })),
    Prefix: Type.Optional(XmlText('Prefix of the report in the destination bucket. COS adds a slash.', 'list1')),
    Encryption: Type.Optional(Encryption)
  }, closed)
}, { ...closed, description: 'Destination of the report.' }))
