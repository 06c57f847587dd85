/** What cannot change is written once, for as long as anybody has it: a configuration that the reader has frozen. */
const texts = new WeakMap<object, string>()

/**
 * An answer as JSON.
 *
 * @param value if it is frozen, so must be all that is in it
 */
export function toJson (value: unknown): string {
  if (typeof value !== 'object' || value === null || !Object.isFrozen(value)) return JSON.stringify(value)
  const known = texts.get(value)
  if (known !== undefined) return known
  const text = JSON.stringify(value)
  texts.set(value, text)
  return text
}
