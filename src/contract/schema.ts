import { Type } from '@sinclair/typebox'
import type { SchemaOptions, Static, TSchema, TUnsafe } from '@sinclair/typebox'

/** Option of objects that have no members but the named ones. */
export const closed = { additionalProperties: false }

/**
 * Creates the schema of a string out of a fixed list. Unlike a union of literals it is a plain `enum` in the OpenAPI
 * document, and an invalid value has one issue.
 */
export function StringEnum<const T extends string[]> (values: [...T], options: SchemaOptions = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: values, ...options })
}

/** Creates a reference to a schema registered with `app.addSchema`: a named component of the OpenAPI document. */
export function refTo<T extends TSchema> (schema: T): TUnsafe<Static<T>> {
  if (schema.$id === undefined) throw new TypeError('only a schema with $id can be referred to')
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/** Creates a schema that no value matches. Its description is the detail of the issue, which `false` could not have. */
export function Forbidden (description: string) {
  return Type.Unsafe<never>({ not: {}, description })
}
