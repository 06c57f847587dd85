import Fastify, { LogController } from 'fastify'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { AuditLog } from './audit.ts'
import type { Callers } from './callers/callers.ts'
import type { Changes } from './changes/changes.ts'
import type { DesiredSets } from './changes/desired-set.ts'
import { preflight } from './changes/preflight.ts'
import type { Inventories } from './cos/inventories.ts'
import type { Regions } from './cos/regions.ts'
import {
  DesiredSetSchema, InventoryConfigurationPatchSchema, SetOutcomeSchema, SetProgressSchema
} from './contract/desired-set.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema, InventoryJobSchema,
  InventoryPageSchema
} from './contract/inventory.ts'
import { ProblemSchema } from './contract/problem.ts'
import { maxBodyBytes } from './contract/requests.ts'
import { addAudit } from './http/audit.ts'
import { addAuthentication } from './http/authentication.ts'
import { addAuthorization, addDestinationCheck } from './http/authorization.ts'
import { addClientAddress } from './http/client-address.ts'
import { addDocumentation } from './http/documentation.ts'
import { addCosCall } from './http/cos-call.ts'
import { toJson } from './http/json.ts'
import { acceptJsonOnly } from './http/json-only.ts'
import { metricsRoute } from './http/metrics-route.ts'
import { addObservation } from './http/observation.ts'
import { addOnceOver } from './http/once-over.ts'
import {
  addNotFound, addProblems, answerOddRequests, inviteBody, replyToClientError, replyToRouterError
} from './http/problem-replies.ts'
import { addRateLimits, limitCallers } from './http/rate-limits.ts'
import type { RateLimits } from './http/rate-limits.ts'
import { refuseChanges } from './http/read-only.ts'
import { addRequestIds, requestIdOf } from './http/request-ids.ts'
import { addRequestLog } from './http/request-log.ts'
import { addSecurityHeaders } from './http/security-headers.ts'
import { measureLateness, shedLoad } from './http/shedding.ts'
import { refuseWhenClosing } from './http/shutdown.ts'
import type { Lifecycle } from './http/shutdown.ts'
import { logFailedHandshakes } from './http/tls.ts'
import type { TlsOptions } from './http/tls.ts'
import { ajvOptions, refuseFaults } from './http/validation.ts'
import type { Metrics } from './metrics.ts'
import { desiredSetRoutes } from './routes/desired-set.ts'
import { inventoryRoutes } from './routes/inventories.ts'
import { probeRoutes } from './routes/probes.ts'
import type { Tracer } from './tracing.ts'

/** What the application needs from outside. It opens nothing itself. */
export interface Dependencies {
  audit: AuditLog
  callers: Pick<Callers, 'identify'>
  changes: Changes
  /** For a caller's whole request, in milliseconds. */
  deadlineMs: number
  desiredSets: DesiredSets
  inventories: Inventories
  lifecycle: Lifecycle
  logger: FastifyBaseLogger
  metrics: Metrics
  /** Whether `/metrics` is among the routes. */
  metricsHere: boolean
  /** Milliseconds since 1970. */
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
  const { changes, inventories, lifecycle, metrics, regions, tls, tracer, version } = dependencies
  const app = createFastify(dependencies)
  // Compiled serializers drop properties that a schema does not name. Nothing COS said may be lost.
  app.setSerializerCompiler(() => toJson)
  addProblems(app)
  addRequestIds(app)
  addClientAddress(app)
  addOnceOver(app)
  addObservation(app, { metrics, tracer })
  addRequestLog(app)
  const isTls = tls !== undefined
  addSecurityHeaders(app, { isTls })
  logFailedHandshakes(app)
  refuseWhenClosing(app, lifecycle)
  answerOddRequests(app)
  addNotFound(app)
  acceptJsonOnly(app)
  shedLoad(app, measureLateness())
  const countFailure = await addRateLimits(app, dependencies.rateLimits)

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
  // A scrape is worth nothing to a process that ends.
  const app = createFastify({ logger, tls: undefined, trustedProxies: [] }, { forceCloseConnections: true })
  app.addSchema(ProblemSchema)
  addProblems(app)
  addRequestIds(app)
  addSecurityHeaders(app, { isTls: false })
  answerOddRequests(app)
  addNotFound(app)
  await app.register(metricsRoute, { metrics })
  return app
}

function createFastify (
  { logger, tls, trustedProxies }: Pick<Dependencies, 'logger' | 'tls' | 'trustedProxies'>,
  more: { forceCloseConnections?: boolean } = {}
): FastifyInstance {
  return Fastify({
    ...more,
    loggerInstance: logger,
    // One line for each answer is written by addRequestLog.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    requestIdHeader: false,
    genReqId: requestIdOf,
    bodyLimit: maxBodyBytes,
    // A request that trickles in holds a connection; half a minute is plenty for 256 KiB, and ten seconds for headers.
    requestTimeout: 30_000,
    // Node looks for late requests every 30 s, and answers one without Host by itself, unless told otherwise.
    [tls === undefined ? 'http' : 'https']: {
      ...tls, headersTimeout: 10_000, connectionsCheckingInterval: 5_000, requireHostHeader: false
    },
    trustProxy: trustedProxies.length > 0 && trustedProxies,
    // What is refused while closing is refused by refuseWhenClosing, as a problem document.
    return503OnClosing: false,
    ajv: { customOptions: ajvOptions },
    // Longer segments than the contract allows must reach validation, which says what is wrong with them.
    routerOptions: {
      maxParamLength: 8192,
      // Continuation tokens are base64: a plus is a plus here, not a blank as in HTML forms.
      querystringParser: text => text === '' ? {} : Object.fromEntries(groupByName(new URLSearchParams(text.replaceAll('+', '%2B'))))
    },
    frameworkErrors: replyToRouterError,
    clientErrorHandler: replyToClientError
  })
}

/** A parameter given twice becomes an array, which no schema takes: it is refused rather than half ignored. */
function groupByName (parameters: URLSearchParams): Map<string, string | string[]> {
  const groups = new Map<string, string | string[]>()
  for (const [name, value] of parameters) {
    const present = groups.get(name)
    groups.set(name, present === undefined ? value : [present, value].flat())
  }
  return groups
}
