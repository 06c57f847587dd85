/** The rule for one member of a JSON object. */
export interface Member { required?: true, expected: string, accepts: (value: unknown) => boolean }

/** Accepts whole numbers of a range. */
export const wholeNumber = (least: number, most = Number.MAX_SAFE_INTEGER): Member => ({
  expected: `a whole number from ${least}${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''}`,
  accepts: value => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
})

/** Accepts one of some values. */
export const oneOf = (...choices: ReadonlyArray<string | number | boolean>): Member => ({
  expected: `one of ${choices.join(', ')}`, accepts: value => choices.includes(value as string)
})

/** Accepts a string that a pattern matches. */
export const matching = (pattern: RegExp, expected: string): Member => ({
  expected, accepts: value => typeof value === 'string' && pattern.test(value)
})

export const text: Member = { expected: 'a string', accepts: value => typeof value === 'string' }
export const boolean: Member = { expected: 'true or false', accepts: value => typeof value === 'boolean' }
export const object: Member = { expected: 'an object', accepts: isObject }

export const required = (member: Member): Member => ({ ...member, required: true })

/** Returns the issues of an object, with a prefix before the names of its members. */
export function findErrors (
  prefix: string, value: Record<string, unknown>, members: Record<string, Member>
): string[] {
  const unknown = Object.keys(value).filter(name => !Object.hasOwn(members, name))
  return [
    ...unknown.map(name => `${prefix}${name} is not known`),
    ...Object.entries(members)
      .filter(([name, member]) => value[name] === undefined ? member.required : !member.accepts(value[name]))
      .map(([name, { expected }]) => `${prefix}${name} must be ${expected}`)
  ]
}

/** Tells whether a value of JSON is an object. */
export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
