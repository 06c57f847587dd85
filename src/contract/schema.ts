import { Type } from '@sinclair/typebox'
import type { SchemaOptions, Static, TSchema, TUnsafe } from '@sinclair/typebox'

/** Option of object schemas that allow only the named members. */
export const closed = { additionalProperties: false }

/**
 * Creates the schema of a string from a fixed list. Unlike a union of literals, it is a plain `enum` in the OpenAPI
 * document. An invalid value causes only one issue.
 */
export function StringEnum<const T extends string[]> (values: [...T], options: SchemaOptions = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: values, ...options })
}

/** Creates a reference to a schema registered with `app.addSchema`: a named component of the OpenAPI document. */
export function refTo<T extends TSchema> (schema: T): TUnsafe<Static<T>> {
  if (schema.$id === undefined) throw new TypeError('schema has no $id and cannot be referenced')
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/** Creates a schema that no value matches. Unlike `false`, it has a description: the detail of the issue. */
export function Forbidden (description: string) {
  return Type.Unsafe<never>({ not: {}, description })
}
