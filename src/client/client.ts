import { InventoryError, readJson } from './error.ts'
import { jsonLines } from './lines.ts'
import { createCall } from './request.ts'
import type { Call } from './request.ts'
import { backoffMs, pause } from './retry.ts'
import type {
  ClientOptions, Configuration, InventoryClient, PreflightWarning, ReportList, ReportRow, SetOutcome, SetProgress,
  Versioned
} from './types.ts'

const maxUpdates = 20

/** Creates a client for the inventory configurations of a bucket. Throws TypeError if the URL is not valid. */
export function createInventoryClient (options: ClientOptions): InventoryClient {
  const call = createCall(options)
  return { ...readingMethods(call), ...changingMethods(call), ...setMethods(call), ...reportMethods(call) }
}

function readingMethods (call: Call): Pick<InventoryClient, 'get' | 'find' | 'getIfChanged' | 'list'> {
  const get: InventoryClient['get'] = (id, options = {}) => call({ method: 'GET', path: [id], options }, readVersioned)
  return {
    get,
    find: (id, options) => get(id, options).catch((error: unknown) => {
      if (!isProblem(error, 404, 'InventoryConfigurationNotFoundError')) throw error
      return undefined
    }),
    getIfChanged: (id, etag, options) => call({ method: 'GET', path: [id], options: { ...options, ifNoneMatch: etag } },
      response => response.status === 304 ? undefined : readVersioned(response)),
    async * list (options) {
      let continuationToken: string | undefined
      do {
        const page = await call({ method: 'GET', path: [], options: { ...options, ...{ continuationToken } } }, readPage)
        yield * page.InventoryConfigurations
        continuationToken = page.NextContinuationToken
      } while (continuationToken)
    }
  }
}

function changingMethods (call: Call): Pick<InventoryClient, 'put' | 'preview' | 'patch' | 'update' | 'delete' | 'start'> {
  const put: InventoryClient['put'] = (id, body, options = {}) => call({ method: 'PUT', path: [id], options, body },
    response => ({ etag: etagOf(response), warnings: warningsOf(response) }))
  return {
    put,
    preview: (id, body, options = {}) => call({
      method: 'POST', path: [id, 'preview'], options, body, accept: 'application/xml, application/problem+json'
    }, response => {
      rejectUnless(response, /^application\/xml/.test(String(response.headers.get('content-type'))))
      return response.text()
    }),
    patch: (id, body, options = {}) => call({ method: 'PATCH', path: [id], options, body }, readVersioned),
    update: (id, change, options = {}) => {
      const { signal } = options
      const attempt = async (count: number): Promise<void> => {
        const { configuration, etag } = await call({ method: 'GET', path: [id], options: { signal } }, readVersioned)
        const changed = change(configuration)
        if (!changed) return
        try {
          await put(id, changed, { ...options, ifMatch: etag })
        } catch (error) {
          if (!isProblem(error, 412, 'PreconditionFailed') || count >= maxUpdates) throw error
          await pause(backoffMs(1), signal)
          await attempt(count + 1)
        }
      }
      return attempt(1)
    },
    delete: (id, options = {}) => call({ method: 'DELETE', path: [id], options },
      response => { rejectUnless(response, response.status === 204) }),
    start: (id, body, options = {}) => call({ method: 'POST', path: [id], options, body }, async response => {
      const { JobId: jobId } = await readJson<{ JobId?: string }>(response)
      return { jobId, warnings: warningsOf(response) }
    })
  }
}

function setMethods (call: Call): Pick<InventoryClient, 'plan' | 'apply' | 'applying'> {
  const apply: InventoryClient['apply'] = (body, options = {}) =>
    call({ method: 'PUT', path: [], options, body }, readJson<SetOutcome>)
  return {
    apply,
    plan: (set, options) => apply(set, { ...options, ...{ dryRun: true } }),
    async * applying (body, options = {}) {
      const accept = 'application/x-ndjson'
      yield * jsonLines<SetProgress>(await call({ method: 'PUT', path: [], options, body, accept }, bodyOf))
    }
  }
}

function reportMethods (call: Call): Pick<InventoryClient, 'reports' | 'rows'> {
  return {
    reports: (id, options = {}) => call({ method: 'GET', path: [id, 'reports'], options }, readJson<ReportList>),
    async * rows (id, { date = 'latest', ...options } = {}) {
      const accept = 'application/x-ndjson, application/problem+json'
      const path = [id, 'reports', date, 'rows']
      yield * jsonLines<ReportRow>(await call({ method: 'GET', path, options, accept }, bodyOf))
    }
  }
}

async function readVersioned (response: Response): Promise<Versioned> {
  return { configuration: await readJson<Configuration>(response), etag: etagOf(response) }
}

const readPage = readJson<{ InventoryConfigurations: Configuration[], NextContinuationToken?: string }>

const bodyOf = (response: Response) => response.body as ReadableStream<Uint8Array>

/**
 * Returns the ETag. A gateway that compresses makes it weak, but it is that of the configuration. Rejects a response
 * without one, because a change without a condition could undo that of another client.
 */
function etagOf (response: Response): string {
  const etag = response.headers.get('etag')?.replace(/^W\//, '')
  if (!etag) throw new InventoryError(response.status, undefined)
  return etag
}

/** Rejects a success that the service does not send, such as the login page of a gateway. */
function rejectUnless ({ status }: Response, isOfService: boolean): void {
  if (!isOfService) throw new InventoryError(status, undefined)
}

function warningsOf (response: Response): PreflightWarning[] {
  return JSON.parse(response.headers.get('preflight-warnings') ?? '[]') as PreflightWarning[]
}

function isProblem (error: unknown, status: number, code: string): boolean {
  return error instanceof InventoryError && error.status === status && error.code === code
}
