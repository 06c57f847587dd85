/** Settings of routes in their `config`. */
import type { Action } from '../../contract/callers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The CAM action of this route. Read by: access, openapi-document. */
    action?: Action
    /** Further actions that the caller needs. Read by: access, openapi-document. */
    alsoNeeds?: Action[]
    /** The action that the caller needs with `prune=true`. Read by: access, openapi-document. */
    pruneNeeds?: Action
    /** Whether probes and scrapers call this route every few seconds. Read by: instrumentation, admission. */
    isProbe?: boolean
    /** The schema of each configuration of a set. Read by: validation. */
    itemSchema?: object
    /** The media type of the body, if not application/json. Read by: json-body, validation. */
    mediaType?: string
    /** Most values in the body, if not `maxBodyValues`. Read by: json-body. */
    maxValues?: number
  }
}
