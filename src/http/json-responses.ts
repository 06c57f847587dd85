import type { CosPage } from '../cos/xml/cos-document.ts'
import { createPauses } from '../concurrency/event-loop.ts'

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
      items.push(JSON.stringify(item))
      await pause()
    }
    members.push(`${JSON.stringify(name)}:[${items.join()}]`)
  }
  return `{${members.join()}}`
}

/** Returns a page of configurations as JSON, with iterations of the event loop in between. */
export async function pageToJson ({ documents, nextContinuationToken, unknown }: CosPage): Promise<string> {
  const isTruncated = nextContinuationToken !== undefined
  const pause = createPauses()
  const items: string[] = []
  for (const document of documents) {
    items.push(document.json())
    await pause()
  }
  const others = { IsTruncated: isTruncated, ...unknown, NextContinuationToken: nextContinuationToken }
  return `{"InventoryConfigurations":[${items.join()}],${JSON.stringify(others).slice(1)}`
}
