import { writeFileSync } from 'node:fs'
import { pino } from 'pino'
import { buildApp } from './app.ts'
import type { Inventories } from './cos/inventories.ts'
import { version } from './service.ts'

/** Writes `openapi/` from the routes, byte for byte what a running service answers. */
const app = await buildApp({
  // The document comes from the routes' schemas; no operation is called.
  inventories: {} as Inventories,
  lifecycle: { phase: 'serving' },
  logger: pino({ level: 'silent' }),
  readOnly: false,
  version
})
for (const name of ['openapi.json', 'openapi.yaml']) {
  const { body } = await app.inject(`/${name}`)
  writeFileSync(new URL(`../openapi/${name}`, import.meta.url), body)
}
await app.close()
