import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { regionPattern } from './names.ts'
import { closed } from './schema.ts'

// Error messages to the operator consist of "must be" and one of these descriptions.

/** Actions on configurations, with their names in CAM. */
const cosActions = [
  'cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory'
] as const

/** Actions on delivered reports. Rows contain the names of objects. */
const reportActions = ['reports:Read', 'reports:ReadRows'] as const

/** One of the actions of the operations. */
export type Action = typeof cosActions[number] | typeof reportActions[number]

/**
 * The actions that a statement can allow by name, and the actions that each means. `cos:*` means no action on reports:
 * an older statement must not reveal the names of objects.
 */
export const actionsByName: Readonly<Record<Action | 'cos:*' | 'reports:*', readonly Action[]>> = {
  'cos:GetBucketInventory': ['cos:GetBucketInventory'],
  'cos:PutBucketInventory': ['cos:PutBucketInventory'],
  'cos:DeleteBucketInventory': ['cos:DeleteBucketInventory'],
  'cos:PostBucketInventory': ['cos:PostBucketInventory'],
  'cos:*': cosActions,
  'reports:Read': ['reports:Read'],
  'reports:ReadRows': reportActions,
  'reports:*': reportActions
}

const actionNames = Object.keys(actionsByName) as Array<keyof typeof actionsByName>

/** The name of a caller. Logs and metrics contain it, so that it has no spaces and needs no escaping. */
export const callerNamePattern = '^[A-Za-z0-9._-]{1,64}$'

const Name = Type.String({ pattern: callerNamePattern, description: '1 to 64 of A-Z a-z 0-9 . _ -' })

const Key = Type.String({ pattern: '^sha256:[0-9a-f]{64}$', description: 'sha256: and 64 lower-case hex digits' })

const Jwt = Type.Object({
  claims: Type.Record(Type.String(), Type.Unknown(), {
    minProperties: 1,
    description: 'an object with at least one claim and its required value'
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

const ActionName = Type.Union(actionNames.map(name => Type.Literal(name)), {
  description: `one of ${actionNames.join(', ')}`
})

const BucketGlob = Type.String({
  pattern: '^[a-z0-9*-]+$',
  description: 'a bucket name with its APPID, in which * matches any characters'
})

const Region = Type.String({ pattern: regionPattern, description: 'a COS region such as ap-guangzhou' })

const Statement = Type.Object({
  actions: Type.Array(ActionName, { minItems: 1, description: 'an array of at least one action' }),
  buckets: Type.Array(BucketGlob, { minItems: 1, description: 'an array of at least one bucket' }),
  regions: Type.Optional(Type.Array(Region, {
    minItems: 1,
    description: 'an array of at least one region; omit it to allow all regions'
  })),
  destinations: Type.Optional(Type.Array(BucketGlob, {
    description: 'an array of buckets; an empty one allows no destination'
  }))
}, { ...closed, description: 'an object with actions and buckets' })

const Caller = Type.Object({
  name: Name,
  keys: Type.Optional(Type.Array(Key, { description: 'an array of key hashes; an empty one accepts no key' })),
  jwt: Type.Optional(Jwt),
  certificate: Type.Optional(Certificate),
  rateLimitPerMinute: Type.Optional(Type.Integer({
    minimum: 0,
    maximum: 10_000_000,
    description: 'an integer from 0 to 10000000; 0 disables the limit'
  })),
  allow: Type.Array(Statement, { description: 'an array of statements' })
}, { ...closed, description: 'an object with name, allow and one of keys, jwt, certificate' })

/** The document of `CALLERS_FILE`: callers and their permissions. */
export const CallersFileSchema = Type.Object({
  callers: Type.Array(Caller, { description: 'an array of callers' })
}, { ...closed, description: 'an object with callers' })

export type CallersFile = Static<typeof CallersFileSchema>
