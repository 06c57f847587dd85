import { createPauses } from '../event-loop.ts'

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

/**
 * Serializes an object whose lists may be long, one item after another with iterations of the event loop in between.
 * The largest page has 16 MB of JSON.
 */
export async function toJsonInParts (object: object): Promise<string> {
  const pause = createPauses()
  const members: string[] = []
  for (const [name, value] of Object.entries(object) as Array<[string, unknown]>) {
    if (!Array.isArray(value)) {
      members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`)
      continue
    }
    const items: string[] = []
    for (const item of value) {
      items.push(toJson(item))
      await pause()
    }
    members.push(`${JSON.stringify(name)}:[${items.join()}]`)
  }
  return `{${members.join()}}`
}
