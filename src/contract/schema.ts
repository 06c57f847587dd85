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

/**
 * Creates the schema of a word from a fixed list that the OpenAPI document describes by a pattern. An `enum` would
 * become a narrow type in TypeScript. A configuration that GET returns could then not be sent with PUT, because other
 * clients may have stored other words.
 */
export function Word<const T extends string[]> (values: [...T], options: SchemaOptions = {}) {
  const documented = { type: 'string', pattern: `^(${values.join('|')})$`, ...options }
  return documentedAs(StringEnum(values, options), documented)
}

/**
 * Creates the schema of a text with a pattern.
 *
 * @param pattern a pattern of ECMAScript with the flag `u`
 * @param portable the pattern in the syntax that RE2, Java and Python share, for the OpenAPI document
 */
export function PatternText (pattern: string, options: SchemaOptions, portable = withoutLookahead(pattern)) {
  return documentedAs(Type.String({ pattern, ...options }), { type: 'string', pattern: portable, ...options })
}

/** Returns a pattern without its lookahead. The document has its rule in words. */
function withoutLookahead (pattern: string): string {
  return pattern.replace(/\(\?![^)]*\)/, '')
}

/**
 * Creates the schema of an integer in a path or query, which is a text until it is read.
 *
 * @param range the keywords of the same integer in the OpenAPI document
 */
export function PatternInteger (pattern: string, range: SchemaOptions, description: string) {
  return documentedAs(Type.String({ pattern, description }), { type: 'integer', ...range, description })
}

/** The words of flags, in any letter case. */
const anyCase = '^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$'

/** Creates the schema of a text that says true or false in any letter case, as Python and the COS SDKs send it. */
export function BooleanText (options: SchemaOptions = {}) {
  return documentedAs(Type.String({ pattern: anyCase, ...options, description: '"true" or "false" in any letter case' }),
    { type: 'boolean', ...options })
}

/** Tells whether a validated {@link BooleanText} is true. A value of another type is not. */
export function isTrue (text: unknown): boolean {
  return typeof text === 'string' && text.toLowerCase() === 'true'
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

/** The form of a schema in the OpenAPI document. Validators ignore symbols. */
const documentedForm = Symbol('documentedForm')

/** The name of a schema that is a component of the OpenAPI document, but that validation keeps in place. */
const componentName = Symbol('componentName')

interface Annotations {
  [documentedForm]?: object
  [componentName]?: string
}

/** Gives a schema another form in the OpenAPI document. The service accepts more spellings than the document names. */
export function documentedAs<T extends TSchema> (schema: T, form: object): T {
  return { ...schema, [documentedForm]: form }
}

/** Omits a member from the OpenAPI document. */
export function undocumented<T extends TSchema> (schema: T): T {
  return documentedAs(schema, Forbidden('not documented'))
}

/** Makes a schema a component of the OpenAPI document. */
export function component<T extends TSchema> (name: string, schema: T): T {
  return { ...schema, [componentName]: name }
}

/**
 * Returns the form of a JSON merge patch (RFC 7396) of an object in the OpenAPI document. Every member is optional, and
 * null removes those that the object does not require. Descriptions are those of the object.
 */
export function patchOf (schema: TSchema): object {
  const { type, properties, required = [] } = formOf(schema) as unknown as ObjectForm
  const members = Object.entries(properties).filter(([, member]) => !isOmitted(member)).map(([name, member]) => {
    const form = formOf(member)
    const { description: _, examples: __, ...patch } = form['type'] === 'object' ? patchOf(form) as ObjectForm : form
    return [name, required.includes(name) ? patch : orNull(patch)]
  })
  return { type, properties: Object.fromEntries(members) as object, additionalProperties: false }
}

/** Returns a schema that null matches, too. Some generators ignore null in the type of an object. */
function orNull (schema: Record<string, unknown>): object {
  if (schema['type'] === 'object') return { anyOf: [schema, { type: 'null' }] }
  return { ...schema, type: [schema['type'], 'null'] }
}

interface ObjectForm {
  [keyword: string]: unknown
  properties: Record<string, TSchema>
  required?: string[]
}

/** Returns the form of a schema in the OpenAPI document, even if it is a component. */
export function formOf (schema: TSchema): TSchema {
  return (schema as Annotations)[documentedForm] as TSchema | undefined ?? schema
}

/** Keywords whose rules the document has in words, because generators do not know them. */
const inWords = new Set(['if', 'then', 'else'])

/**
 * Returns a schema as the OpenAPI document has it. Components become references.
 *
 * @param components gets the components that the schema contains
 */
export function documented (schema: object, components: Map<string, object>): object {
  const { [documentedForm]: form, [componentName]: name } = schema as Annotations
  if (name !== undefined) {
    if (!components.has(name)) components.set(name, contentOf(form ?? schema, components))
    return { $ref: `#/components/schemas/${name}` }
  }
  return form === undefined ? contentOf(schema, components) : documented(form, components)
}

function contentOf (schema: object, components: Map<string, object>): object {
  const entries = Object.entries(schema).filter(([keyword]) => !inWords.has(keyword) && keyword !== '$id')
    .sort(([one], [other]) => rankOf(one) - rankOf(other))
  return Object.fromEntries(entries.map(([keyword, value]) => {
    if (keyword === '$ref') return [keyword, `#/components/schemas/${String(value).replace('#', '')}`]
    if (keyword === 'properties') return [keyword, propertiesOf(value as Record<string, object>, components)]
    if (keyword === 'examples' || keyword === 'enum') return [keyword, value]
    if (Array.isArray(value)) return [keyword, value.map((each: unknown) => part(each, components))]
    return [keyword, part(value, components)]
  }))
}

/** Places of keywords, as people read a schema: what it is, its members, and examples at the end. */
const ranks: ReadonlyMap<string, number> = new Map([['type', 0], ['description', 1], ['examples', 3]])

function rankOf (keyword: string): number {
  return ranks.get(keyword) ?? 2
}

function part (value: unknown, components: Map<string, object>): unknown {
  return typeof value === 'object' && value !== null ? documented(value, components) : value
}

function propertiesOf (properties: Record<string, object>, components: Map<string, object>): object {
  return Object.fromEntries(Object.entries(properties)
    .filter(([, property]) => !isOmitted(property))
    .map(([name, property]) => [name, documented(property, components)]))
}

function isOmitted (property: object): boolean {
  return 'not' in ((property as Annotations)[documentedForm] ?? property)
}
