/** What routes say of themselves in their `config`. */
import type { Action } from '../../contract/callers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The action of this route, by its CAM name. Read by: access, documentation. */
    action?: Action
    /** Further actions that the caller needs. Read by: access, documentation. */
    alsoNeeds?: Action[]
    /** The action that the caller needs with `prune=true`. Read by: access, documentation. */
    pruneNeeds?: Action
    /** Whether probes and scrapers call this route every few seconds. Read by: instrumentation, admission. */
    isProbe?: boolean
    /** The schema of each configuration of a set. Read by: validation. */
    itemSchema?: object
    /** The media type of the body when it is not application/json. Read by: json-body, validation. */
    mediaType?: string
    /** The most values that the body holds, when not `maxBodyValues`. Read by: json-body. */
    maxValues?: number
  }
}
