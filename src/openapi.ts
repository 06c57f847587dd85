import { writeFileSync } from 'node:fs'
import { pino } from 'pino'
import { buildApp } from './app.ts'
import type { Inventories } from './cos/inventories.ts'
import { version } from './service.ts'

/** Writes `openapi/` from the routes, byte for byte what a running service answers. */
const app = await buildApp({
  // The document comes from the routes' schemas; no operation is called.
  inventories: {} as Inventories,
  callers: { identify: async () => undefined },
  audit: () => {},
  lifecycle: { phase: 'serving', whenCut: [] },
  logger: pino({ level: 'silent' }),
  rateLimits: { perMinute: 0, byAddress: false, redis: undefined },
  readOnly: false,
  fault: () => undefined,
  tls: undefined,
  trustedProxies: [],
  version
})
for (const name of ['openapi.json', 'openapi.yaml']) {
  const { body } = await app.inject(`/${name}`)
  writeFileSync(new URL(`../openapi/${name}`, import.meta.url), body)
}
await app.close()
