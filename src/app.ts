import Fastify, { LogController } from 'fastify'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { AuditLog } from './logging/audit-log.ts'
import type { Callers } from './callers/callers.ts'
import type { VersionedInventories } from './changes/versioned-inventories.ts'
import type { DesiredSets } from './changes/desired-set.ts'
import type { Regions } from './cos/regions/regions.ts'
import type { ReportObjects } from './cos/report-objects.ts'
import type { Component } from './contract/readiness.ts'
import { maxBodyBytes } from './contract/requests.ts'
import { commonSchemas, schemas } from './contract/schemas.ts'
import { access } from './http/access/access.ts'
import { createRateLimiter } from './http/access/rate-limits.ts'
import type { RateLimiter, RateLimits } from './http/access/rate-limits.ts'
import { admission } from './http/admission.ts'
import { auditResponses, createAuditTrail } from './http/audit-trail.ts'
import { inviteBody } from './http/body/expect-continue.ts'
import { acceptJsonOnly } from './http/body/json-body.ts'
import { ajvOptions, validation } from './http/body/validation.ts'
import { bucketCall, createBucketCalls } from './http/bucket-call.ts'
import { ConnectionRegistry } from './http/connections/connection-registry.ts'
import { exchanges } from './http/connections/exchanges.ts'
import { closeUnusedOnClose, createLifecycle } from './http/connections/graceful-shutdown.ts'
import type { Lifecycle } from './http/connections/graceful-shutdown.ts'
import { rejectConnect, replyToClientError } from './http/connections/protocol-errors.ts'
import { createHttpServer } from './http/connections/server.ts'
import { closeFailedHandshakes } from './http/connections/tls.ts'
import type { TlsOptions } from './http/connections/tls.ts'
import { requestContext } from './http/context/request-context.ts'
import { requestIdOf } from './http/context/request-ids.ts'
import { addDocumentation } from './http/documentation.ts'
import type { OpenApiDocuments } from './http/documentation.ts'
import { problemReplies, replyToRouterError } from './http/errors/problem-replies.ts'
import { instrumentation } from './http/instrumentation.ts'
import { measureEventLoopDelay } from './http/load-shedding.ts'
import { metricsRoute } from './http/metrics-route.ts'
import { describeRoutes } from './http/openapi/document.ts'
import { parseQuery } from './http/query.ts'
import type { Metrics } from './metrics.ts'
import type { Reports } from './reports/reports.ts'
import type { StreamSlots } from './reports/stream-slots.ts'
import { desiredSetRoutes } from './routes/desired-set.ts'
import { inventoryRoutes } from './routes/inventories.ts'
import { reportFileRoute } from './routes/report-files.ts'
import { reportRowRoutes } from './routes/report-rows.ts'
import { reportRoutes } from './routes/reports.ts'
import { listRoute } from './routes/list.ts'
import { previewRoute } from './routes/preview.ts'
import { probeRoutes } from './routes/probes.ts'
import type { Tracer } from './tracing/tracing.ts'

/** The dependencies of the application. It opens no file or connection itself. */
export interface Dependencies {
  /** Allowed host names besides those of loopback; undefined if callers are authenticated. */
  allowedHosts: readonly string[] | undefined
  audit: AuditLog
  callers: Pick<Callers, 'identify'>
  /** Returns the components of the service with their present states. */
  components: () => Component[]
  connections: ConnectionRegistry
  /** Returns the reason why no account has valid credentials for COS; undefined while one has. */
  credentialsError: () => string | undefined
  /** Deadline of all calls of a request, in milliseconds. */
  deadlineMs: number
  desiredSets: DesiredSets
  /** The OpenAPI documents that are served. If undefined, `app.swagger()` returns the document of the routes. */
  documents: OpenApiDocuments | undefined
  inventories: VersionedInventories
  lifecycle: Lifecycle
  logger: FastifyBaseLogger
  metrics: Metrics
  /** Monotonic clock, in milliseconds. */
  now: () => number
  rateLimits: RateLimits
  readOnly: boolean
  reports: {
    /** Whether reports are served. */
    isEnabled: boolean
    objects: ReportObjects
    reports: Reports
    slots: StreamSlots
    /** Wall clock, in milliseconds since 1970. */
    now: () => number
  }
  regions: Regions
  /** Whether this application serves `/metrics`. */
  servesMetrics: boolean
  tls: TlsOptions | undefined
  tracer: Tracer
  trustedProxies: string[]
  version: string
}

/**
 * Builds the HTTP application without listening. Plugins and routes are in the order in which a request passes them.
 * Plugins declare their dependencies, so that a wrong order stops the start.
 */
export async function buildApp (dependencies: Dependencies): Promise<FastifyInstance> {
  const { connections, lifecycle, metrics, tls } = dependencies
  const app = createFastify(dependencies)
  // Compiled serializers drop properties that a schema does not name. Responses must contain all elements of COS.
  app.setSerializerCompiler(() => JSON.stringify)
  await app.register(requestContext, { connections, isTls: tls !== undefined })
  await app.register(problemReplies)
  await app.register(exchanges, { connections, lifecycle })
  await app.register(instrumentation, { metrics, tracer: dependencies.tracer })
  closeFailedHandshakes(app)
  closeUnusedOnClose(app, connections)
  rejectConnect(app, connections)
  await app.register(admission, {
    lifecycle, allowedHosts: dependencies.allowedHosts, eventLoopDelay: measureEventLoopDelay()
  })
  acceptJsonOnly(app)
  for (const schema of schemas) app.addSchema(schema)
  if (dependencies.documents === undefined) await describeRoutes(app, dependencies.version)
  await addDocumentation(app, dependencies.documents ?? { json: '', yaml: '' })
  const { components, credentialsError } = dependencies
  await app.register(probeRoutes, { lifecycle, components, credentialsError })
  if (dependencies.servesMetrics) await app.register(metricsRoute, { metrics })
  const rateLimiter = await createRateLimiter(app, dependencies.rateLimits, dependencies.now)
  await app.register(async api => { await addBucketRoutes(api, dependencies, rateLimiter) })
  return app
}

/** Adds the routes that need an authenticated caller. */
async function addBucketRoutes (
  api: FastifyInstance, dependencies: Dependencies, rateLimiter: RateLimiter
): Promise<void> {
  const { callers, desiredSets, inventories, lifecycle, regions } = dependencies
  const auditTrail = createAuditTrail(dependencies.audit, lifecycle)
  const bucketCalls = createBucketCalls(dependencies)
  await api.register(auditResponses, { auditTrail })
  await api.register(access, { auditTrail, callers, rateLimiter, regionOf: regions.known })
  api.addHook('preParsing', inviteBody)
  await api.register(validation)
  await api.register(bucketCall, { bucketCalls, isReadOnly: dependencies.readOnly })
  // The OpenAPI document has the operations in this order.
  await api.register(listRoute, { bucketCalls, inventories })
  await api.register(desiredSetRoutes, { auditTrail, bucketCalls, desiredSets, lifecycle })
  await api.register(inventoryRoutes, { bucketCalls, inventories, hasReports: dependencies.reports.isEnabled })
  await api.register(previewRoute, { bucketCalls, inventories })
  const reports = { bucketCalls, inventories, ...dependencies.reports }
  await api.register(reportRoutes, reports)
  const { metrics, deadlineMs, now: steadyNow, rateLimits: { byAddress } } = dependencies
  const streams = { ...reports, auditTrail, metrics, deadlineMs, steadyNow, byAddress }
  await api.register(reportRowRoutes, streams)
  await api.register(reportFileRoute, streams)
}

/** Builds the application that serves `/metrics` on its own port, over plain HTTP. */
export async function buildMetricsApp (
  { logger, metrics }: Pick<Dependencies, 'logger' | 'metrics'>
): Promise<FastifyInstance> {
  const connections = new ConnectionRegistry({ onClosed: metrics.connectionClosed })
  const lifecycle = createLifecycle()
  const options = { connections, logger, tls: undefined, trustedProxies: [] }
  // A scrape must not delay the shutdown.
  const app = createFastify(options, { forceCloseConnections: true })
  for (const schema of commonSchemas) app.addSchema(schema)
  await app.register(requestContext, { connections, isTls: false })
  await app.register(problemReplies)
  await app.register(exchanges, { connections, lifecycle })
  rejectConnect(app, connections)
  await app.register(admission, { lifecycle, allowedHosts: undefined, eventLoopDelay: measureEventLoopDelay() })
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
    // Fastify derives the scheme of its URL from the name of this option. The server has its own options.
    [tls === undefined ? 'http' : 'https']: {},
    loggerInstance: logger,
    // Instrumentation logs one line for each request.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    requestIdHeader: false,
    genReqId: requestIdOf,
    bodyLimit: maxBodyBytes,
    trustProxy: trustedProxies.length > 0 && trustedProxies,
    // Admission rejects requests while closing, with a problem document.
    return503OnClosing: false,
    ajv: { customOptions: ajvOptions },
    routerOptions: {
      // The limit is longer than any request line. Hooks reject long segments, so that the audit log records them.
      maxParamLength: 65_536,
      querystringParser: parseQuery
    },
    frameworkErrors: replyToRouterError,
    clientErrorHandler: (error, socket) => { replyToClientError(logger, connections, error, socket) }
  })
}
