/** What cannot change is written once, for as long as anybody has it: a configuration COS gives again and again. */
const texts = new WeakMap<object, string>()

/** An answer as JSON. */
export function toJson (value: object): string {
  if (!Object.isFrozen(value)) return JSON.stringify(value)
  const known = texts.get(value)
  if (known !== undefined) return known
  const text = JSON.stringify(value)
  texts.set(value, text)
  return text
}
