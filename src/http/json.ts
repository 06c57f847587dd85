import type { InventoryPage } from '../contract/inventory.ts'
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
 * Serializes a page one configuration after another, with iterations of the event loop in between: the largest pages
 * have 16 MB of JSON.
 */
export async function pageToJson (page: InventoryPage): Promise<string> {
  const { InventoryConfigurations: configurations, ...others } = page
  const pause = createPauses()
  const items: string[] = []
  for (const configuration of configurations) {
    items.push(toJson(configuration))
    await pause()
  }
  return `{"InventoryConfigurations":[${items.join()}],${JSON.stringify(others).slice(1)}`
}
