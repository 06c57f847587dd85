/** Settings of routes in their `config`. */
import type { Action } from '../../contract/callers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The CAM action of this route. Read by: access, openapi. */
    action?: Action
    /** Further actions that the caller needs. Read by: access, openapi. */
    alsoNeeds?: Action[]
    /** The action that the caller needs with `prune=true`. Read by: access, openapi. */
    pruneNeeds?: Action
    /** Whether probes and scrapers call this route every few seconds. Read by: instrumentation, admission. */
    isProbe?: boolean
    /** The schema of each configuration of a set. Read by: validation. */
    itemSchema?: object
    /** Whether the body is a JSON merge patch. Read by: json-body, validation. */
    isPatch?: boolean
    /** The action that a preview of a one-time job needs instead of `action`. Read by: access, preview, openapi. */
    jobAction?: Action
    /** Statuses whose responses are shared components of the OpenAPI document. Read by: openapi. */
    statuses?: readonly number[]
    /** Most values in the body, if not `maxBodyValues`. Read by: json-body. */
    maxValues?: number
  }
}
