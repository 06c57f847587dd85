import type { Problem } from './types.ts'

/** A response that is not a success. Its message has status, code and detail. */
export class InventoryError extends Error {
  override readonly name = 'InventoryError'
  /** Status of the response. */
  readonly status: number
  /** Stable code of the problem. Undefined if the response is not from the service, but from a gateway. */
  readonly code: string | undefined
  /** The problem document (RFC 9457). Undefined if the response is not from the service. */
  readonly problem: Problem | undefined
  /** Milliseconds to wait before a retry, as Retry-After says. Undefined without that header. */
  readonly retryAfterMs: number | undefined

  constructor (status: number, problem: Problem | undefined, retryAfterMs?: number) {
    super(problem === undefined
      ? `Status ${status}, and the body is not from cos-inventory-proxy. Check the URL.`
      : `${status} ${problem.code}: ${problem.detail}`)
    this.status = status
    this.code = problem?.code
    this.problem = problem
    this.retryAfterMs = retryAfterMs
  }
}

/** Reads a response that is not a success. */
export async function errorOf (response: Response): Promise<InventoryError> {
  const text = await response.text()
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json')
  const problem = isProblem ? parseProblem(text) : undefined
  return new InventoryError(response.status, problem, millisecondsOf(response.headers.get('retry-after')))
}

/** Returns the JSON of a response. Rejects with an InventoryError if the body is no JSON. */
export async function readJson<T> (response: Response): Promise<T> {
  const text = await response.text()
  try {
    return JSON.parse(text) as T
  } catch {
    throw new InventoryError(response.status, undefined)
  }
}

function parseProblem (text: string): Problem | undefined {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null
    // A gateway may send problems of its own.
    return problem?.code && problem.requestId ? problem as Problem : undefined
  } catch {
    return undefined
  }
}

/** Reads Retry-After: seconds or a date (RFC 9110, section 10.2.3). */
function millisecondsOf (retryAfter: string | null): number | undefined {
  if (retryAfter === null) return undefined
  const ms = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
