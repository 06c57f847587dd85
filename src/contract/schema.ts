import { Type } from '@sinclair/typebox'
import type { SchemaOptions, Static, TSchema, TUnsafe } from '@sinclair/typebox'

/**
 * A string out of a fixed list. Unlike a union of literals it is a plain `enum` in the document and gives
 * one message for one wrong value.
 */
export function StringEnum<const T extends string[]> (values: [...T], options: SchemaOptions = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: values, ...options })
}

/** A reference to a schema registered with `app.addSchema`: a named component in the OpenAPI document. */
export function refTo<T extends TSchema> (schema: T): TUnsafe<Static<T>> {
  if (schema.$id === undefined) throw new TypeError('only a schema with $id can be referred to')
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/**
 * A sub-schema that nothing matches; the description becomes the fault's text.
 * `false` would do the same without a word for the caller.
 */
export function Forbidden (description: string) {
  return Type.Unsafe<never>({ not: {}, description })
}
