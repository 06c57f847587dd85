import Fastify, { LogController } from 'fastify'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { AuditLog } from './audit.ts'
import type { Callers } from './callers/callers.ts'
import type { Changes } from './changes/changes.ts'
import type { DesiredSets } from './changes/desired-set.ts'
import { preflight } from './changes/preflight.ts'
import type { Inventories } from './cos/inventories.ts'
import type { Regions } from './cos/regions/regions.ts'
import {
  DesiredSetSchema, InventoryConfigurationPatchSchema, SetOutcomeSchema, SetProgressSchema
} from './contract/desired-set.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema, InventoryJobSchema,
  InventoryPageSchema
} from './contract/inventory.ts'
import { ProblemSchema } from './contract/problem.ts'
import { maxBodyBytes } from './contract/requests.ts'
import { rejectForeignPages } from './http/allowed-hosts.ts'
import { addAudit } from './http/audit.ts'
import { addAuthentication } from './http/authentication.ts'
import { addAuthorization, addDestinationCheck } from './http/authorization.ts'
import { addClientAddress } from './http/client-address.ts'
import { createConnections } from './http/connections/connection-registry.ts'
import type { Connections } from './http/connections/connection-registry.ts'
import { addExchanges } from './http/connections/exchanges.ts'
import { createLifecycle, rejectWhenClosing } from './http/connections/graceful-shutdown.ts'
import type { Lifecycle } from './http/connections/graceful-shutdown.ts'
import { rejectConnect, rejectMalformedRequests, replyToClientError } from './http/connections/protocol-errors.ts'
import { createHttpServer } from './http/connections/server.ts'
import { closeFailedHandshakes } from './http/connections/tls.ts'
import type { TlsOptions } from './http/connections/tls.ts'
import { addDocumentation } from './http/documentation.ts'
import { addCosCall } from './http/cos-call.ts'
import { acceptJsonOnly } from './http/json-only.ts'
import { metricsRoute } from './http/metrics-route.ts'
import { addObservation } from './http/observation.ts'
import { addNotFound, addProblems, inviteBody, rejectLongSegments, replyToRouterError } from './http/problem-replies.ts'
import { parseQuery } from './http/query.ts'
import { addRateLimits, limitCallers } from './http/rate-limits.ts'
import type { RateLimits } from './http/rate-limits.ts'
import { refuseChanges } from './http/read-only.ts'
import { addRequestIds, requestIdOf } from './http/request-ids.ts'
import { addRequestLog } from './http/request-log.ts'
import { addSecurityHeaders } from './http/security-headers.ts'
import { measureLateness, shedLoad } from './http/shedding.ts'
import { ajvOptions, refuseFaults } from './http/validation.ts'
import type { Metrics } from './metrics.ts'
import { desiredSetRoutes } from './routes/desired-set.ts'
import { inventoryRoutes } from './routes/inventories.ts'
import { probeRoutes } from './routes/probes.ts'
import type { Tracer } from './tracing.ts'

/** What the application needs from outside. It opens nothing itself. */
export interface Dependencies {
  /** Host names that are served besides those of loopback; undefined when callers are authenticated. */
  allowedHosts: readonly string[] | undefined
  audit: AuditLog
  callers: Pick<Callers, 'identify'>
  changes: Changes
  connections: Connections
  /** For a caller's whole request, in milliseconds. */
  deadlineMs: number
  desiredSets: DesiredSets
  inventories: Inventories
  lifecycle: Lifecycle
  logger: FastifyBaseLogger
  metrics: Metrics
  /** Whether `/metrics` is among the routes. */
  metricsHere: boolean
  /** Monotonic clock, in milliseconds. */
  now: () => number
  rateLimits: RateLimits
  readOnly: boolean
  regions: Regions
  /** Says in words why the service cannot serve; undefined while it can. */
  fault: () => string | undefined
  tls: TlsOptions | undefined
  tracer: Tracer
  trustedProxies: string[]
  version: string
}

/**
 * Builds the HTTP application: plugins and routes in the order a request meets them. It listens nowhere yet.
 */
export async function buildApp (dependencies: Dependencies): Promise<FastifyInstance> {
  const {
    allowedHosts, changes, connections, inventories, lifecycle, metrics, regions, tls, tracer, version
  } = dependencies
  const app = createFastify(dependencies)
  // Compiled serializers drop properties that a schema does not name. Nothing COS said may be lost.
  app.setSerializerCompiler(() => JSON.stringify)
  addProblems(app)
  addExchanges(app, connections, lifecycle)
  addRequestIds(app)
  addClientAddress(app)
  addObservation(app, { metrics, tracer })
  addRequestLog(app)
  const isTls = tls !== undefined
  addSecurityHeaders(app, { isTls })
  closeFailedHandshakes(app)
  rejectWhenClosing(app, lifecycle, connections)
  rejectMalformedRequests(app)
  rejectConnect(app, connections)
  if (allowedHosts !== undefined) rejectForeignPages(app, allowedHosts)
  addNotFound(app)
  acceptJsonOnly(app)
  shedLoad(app, measureLateness())
  const countFailure = await addRateLimits(app, dependencies.rateLimits, dependencies.now)

  for (const schema of [
    InventoryConfigurationSchema, InventoryConfigurationInputSchema, InventoryJobInputSchema, InventoryJobSchema,
    InventoryPageSchema, InventoryConfigurationPatchSchema, DesiredSetSchema, SetOutcomeSchema, SetProgressSchema,
    ProblemSchema
  ]) app.addSchema(schema)
  await addDocumentation(app, version)
  await app.register(probeRoutes, { lifecycle, fault: dependencies.fault })
  if (dependencies.metricsHere) await app.register(metricsRoute, { metrics })
  // What only known callers may use; the hooks run in this order.
  await app.register(async api => {
    const { known: regionOf } = regions
    addAudit(api, { audit: dependencies.audit, lifecycle, regionOf })
    rejectLongSegments(api)
    addAuthentication(api, dependencies.callers, countFailure)
    limitCallers(api, dependencies.rateLimits)
    addAuthorization(api, regionOf)
    api.addHook('preParsing', inviteBody)
    api.addHook('preHandler', refuseFaults)
    if (dependencies.readOnly) refuseChanges(api)
    addCosCall(api, dependencies)
    addDestinationCheck(api, regionOf)
    await api.register(inventoryRoutes, {
      inventories,
      changes,
      preflight: (call, id, input, isStrict) => preflight(call, id, input, isStrict, regions),
      regionOf
    })
    await api.register(desiredSetRoutes, dependencies)
  })
  return app
}

/** Builds the application that serves `/metrics` on a port of its own, over plain HTTP. */
export async function buildMetricsApp (
  { logger, metrics }: Pick<Dependencies, 'logger' | 'metrics'>
): Promise<FastifyInstance> {
  const connections = createConnections({ onClosed: metrics.connectionClosed })
  // A scrape is worth nothing to a process that ends.
  const options = { connections, logger, tls: undefined, trustedProxies: [] }
  const app = createFastify(options, { forceCloseConnections: true })
  app.addSchema(ProblemSchema)
  addProblems(app)
  addExchanges(app, connections, createLifecycle())
  addRequestIds(app)
  addSecurityHeaders(app, { isTls: false })
  rejectMalformedRequests(app)
  rejectConnect(app, connections)
  addNotFound(app)
  await app.register(metricsRoute, { metrics })
  return app
}

function createFastify (
  { connections, logger, tls, trustedProxies }: Pick<Dependencies, 'connections' | 'logger' | 'tls' | 'trustedProxies'>,
  more: { forceCloseConnections?: boolean } = {}
): FastifyInstance {
  return Fastify({
    ...more,
    serverFactory: handler => createHttpServer(tls, connections, handler),
    // Fastify builds the URL it reports from the name of this option. The server has its own options.
    [tls === undefined ? 'http' : 'https']: {},
    loggerInstance: logger,
    // One line for each answer is written by addRequestLog.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    requestIdHeader: false,
    genReqId: requestIdOf,
    bodyLimit: maxBodyBytes,
    trustProxy: trustedProxies.length > 0 && trustedProxies,
    // What is refused while closing is rejected by rejectWhenClosing, as a problem document.
    return503OnClosing: false,
    ajv: { customOptions: ajvOptions },
    routerOptions: {
      // Longer than a request line can be: hooks reject long segments, which the audit log must see.
      maxParamLength: 65_536,
      querystringParser: parseQuery
    },
    frameworkErrors: replyToRouterError,
    clientErrorHandler: (error, socket) => { replyToClientError(logger, connections, error, socket) }
  })
}
