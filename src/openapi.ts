import { writeFileSync } from 'node:fs'
import { pino } from 'pino'
import { buildApp } from './app.ts'
import { ConnectionRegistry } from './http/connections/connection-registry.ts'
import { createLifecycle } from './http/connections/graceful-shutdown.ts'
import { createMetrics } from './metrics.ts'
import { version } from './version.ts'
import { createPassingTracer } from './tracing/tracing.ts'

// The document comes from the schemas of the routes. No dependency is called.
const unused = {} as never

/** Writes `openapi/` of the working directory from the routes. A running service serves these files. */
const app = await buildApp({
  allowedHosts: undefined,
  documents: undefined,
  components: unused,
  connections: new ConnectionRegistry({ onClosed: unused }),
  inventories: unused,
  desiredSets: unused,
  regions: unused,
  deadlineMs: 0,
  now: unused,
  callers: unused,
  audit: unused,
  lifecycle: createLifecycle(),
  logger: pino({ level: 'silent' }),
  metrics: createMetrics(version),
  servesMetrics: true,
  rateLimits: { perMinute: 0, byAddress: false, redis: undefined },
  readOnly: false,
  reports: unused,
  credentialsError: unused,
  tls: undefined,
  tracer: createPassingTracer(),
  trustedProxies: [],
  version
})
await app.ready()
writeFileSync('openapi/openapi.json', `${withShortLines(JSON.stringify(app.swagger(), null, 2))}\n`)
writeFileSync('openapi/openapi.yaml', app.swagger({ yaml: true }))
await app.close()

/** Returns the document with references and short lists of texts in one line, as people read them. */
function withShortLines (json: string): string {
  return json
    .replaceAll(/\{\n *("\$ref": "[^"\n]*")\n *\}/g, '{ $1 }')
    .replaceAll(/\[\n *((?:"[^"\\\n]*",?\s*)+)\]/g, (list, items: string) => {
      const line = `[${items.trim().replaceAll(/\n */g, ' ')}]`
      return line.length <= 100 ? line : list
    })
}
