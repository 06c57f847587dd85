import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { regionPattern } from './names.ts'
import { closed } from './schema.ts'

// Each description completes the sentence "must be …": the operator reads it when a value is malformed.

/** The actions that a statement can allow, by the names of CAM. In a file `cos:*` stands for all of them. */
export const actions = [
  'cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory'
] as const

/** One of {@link actions}. */
export type Action = typeof actions[number]

/** Name of a caller. Log lines, metrics and the audit log contain it, hence no blanks and nothing to escape. */
export const callerNamePattern = '^[A-Za-z0-9._-]{1,64}$'

const Name = Type.String({ pattern: callerNamePattern, description: '1 to 64 of A-Z a-z 0-9 . _ -' })

const Key = Type.String({ pattern: '^sha256:[0-9a-f]{64}$', description: 'sha256: and 64 lower-case hex digits' })

const Jwt = Type.Object({
  claims: Type.Record(Type.String(), Type.Unknown(), {
    minProperties: 1,
    description: 'an object of at least one claim and the value it must have'
  })
}, { ...closed, description: 'an object with claims' })

const Certificate = Type.Object({
  san: Type.Optional(Type.String({
    minLength: 1,
    description: 'one subject alternative name, such as spiffe://corp/billing or URI:spiffe://corp/billing'
  })),
  subject: Type.Optional(Type.String({ description: 'all attributes of the subject, such as O=corp, CN=billing' }))
}, {
  ...closed,
  minProperties: 1,
  maxProperties: 1,
  description: 'an object with exactly one of san and subject'
})

const ActionName = Type.Union([...actions, 'cos:*' as const].map(name => Type.Literal(name)), {
  description: `one of ${actions.join(', ')}, cos:*`
})

const BucketGlob = Type.String({
  pattern: '^[a-z0-9*-]+$',
  description: 'a bucket name with its APPID, in which * stands for any run of characters'
})

const Region = Type.String({ pattern: regionPattern, description: 'a COS region such as ap-guangzhou' })

const Statement = Type.Object({
  actions: Type.Array(ActionName, { minItems: 1, description: 'an array of at least one action' }),
  buckets: Type.Array(BucketGlob, { minItems: 1, description: 'an array of at least one bucket' }),
  regions: Type.Optional(Type.Array(Region, {
    minItems: 1,
    description: 'an array of at least one region; leave it out for any region'
  })),
  destinations: Type.Optional(Type.Array(BucketGlob, {
    description: 'an array of buckets; an empty one allows no destination'
  }))
}, { ...closed, description: 'an object with actions and buckets' })

const Caller = Type.Object({
  name: Name,
  keys: Type.Optional(Type.Array(Key, { description: 'an array of key hashes; an empty one takes no key' })),
  jwt: Type.Optional(Jwt),
  certificate: Type.Optional(Certificate),
  rateLimitPerMinute: Type.Optional(Type.Integer({
    minimum: 0,
    maximum: 10_000_000,
    description: 'an integer from 0 to 10000000, 0 for any number of requests'
  })),
  allow: Type.Array(Statement, { description: 'an array of statements' })
}, { ...closed, description: 'an object with name, allow and one of keys, jwt, certificate' })

/** The document of `CALLERS_FILE`: the callers, and what they may do. */
export const CallersFileSchema = Type.Object({
  callers: Type.Array(Caller, { description: 'an array of callers' })
}, { ...closed, description: 'an object with callers' })

export type CallersFile = Static<typeof CallersFileSchema>
