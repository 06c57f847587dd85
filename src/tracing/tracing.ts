/**
 * Distributed tracing of requests (W3C Trace Context). Without an exporter no span is recorded. The service then sends
 * the caller's headers to COS unchanged, so that the trace does not end at this service.
 */

/** The attributes of the span of a request. */
export interface RequestFields {
  method: string
  /** Template such as `/buckets/:bucket/inventories/:id`; undefined if no route matched. */
  route: string | undefined
  /** Path without the query. */
  path: string
  /** IP address of the client. */
  address: string
  requestId: string
  /** The received header of this name, like `tracestate`. */
  traceparent: string | undefined
  tracestate: string | undefined
}

/** The attributes of the span of an attempt. An attempt sends a call to COS once. */
export interface AttemptFields {
  /** Name of the operation, such as `PutBucketInventory`. */
  operation: string
  method: string
  /** Scheme and host, such as `https://examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com`. */
  origin: string
  /** Path and query. */
  target: string
  /** 1 for the first attempt, 2 for the first retry. */
  number: number
}

/** The trace context of a request, and the spans of its calls. */
export interface RequestTrace {
  /** 32 hex digits; undefined if the caller sent no trace id and no span is recorded. */
  traceId: string | undefined
  /** Starts the span of an attempt to call COS. */
  startAttempt (attempt: AttemptFields): AttemptTrace
  /**
   * Ends the span of the request. Only the first call has an effect.
   *
   * @param fields.status undefined if the caller disconnected before the response
   * @param fields.code code of the problem document, if the response is one
   */
  end (fields: { status: number | undefined, code: string | undefined, caller: string | undefined }): void
}

/** One attempt within a trace. */
export interface AttemptTrace {
  /** Headers of the request to COS: `traceparent` and `tracestate`, or none. They must not be signed. */
  headers: Readonly<Record<string, string>>
  /**
   * Ends the span of the attempt. Only the first call has an effect.
   *
   * @param fields.error code or class of the failure; an HTTP status of 400 or more is an error without it
   */
  end (fields: { status: number | undefined, cosRequestId: string | undefined, error: string | undefined }): void
}

/** Creates the traces of requests. */
export interface Tracer {
  /** Starts the span of a request. */
  startRequest (request: RequestFields): RequestTrace
  /** Sends the recorded spans that were not sent yet. Always resolves. */
  close (): Promise<void>
}

/** A trace context that a caller sent. */
export interface TraceContext {
  /** 32 hex digits. */
  traceId: string
  /** 16 hex digits that name the caller's span. */
  spanId: string
  isSampled: boolean
  /** The received headers, unchanged. */
  headers: Readonly<Record<string, string>>
}

/** The longest header that is passed on. A tracestate of 512 characters should be (W3C Trace Context, 3.3.1.5). */
const longestHeader = 512

/** Version, trace-id, parent-id, trace-flags and fields of later versions (W3C Trace Context, 3.2). */
const traceparentPattern =
  /^((?!ff)[0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7E]*)?$/

/** A member of the list. It may be empty (W3C Trace Context, 3.3.1). */
const memberPattern = /^(?:[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2B\x2D-\x3C\x3E-\x7E]{0,255}[\x21-\x2B\x2D-\x3C\x3E-\x7E])?$/

/** The most members of a list (W3C Trace Context, 3.3.1.1). */
const maxMembers = 32

/**
 * Reads `traceparent` and `tracestate` (W3C Trace Context). Additional fields of later versions are ignored.
 *
 * @returns undefined if the traceparent is missing or malformed; a tracestate that is malformed or longer than 512
 *   characters is omitted
 */
export function readTraceContext (
  traceparent: string | undefined, tracestate: string | undefined
): TraceContext | undefined {
  if (traceparent === undefined || traceparent.length > longestHeader) return undefined
  const [, version, traceId, spanId, flags, more] = traceparentPattern.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || (version === '00' && more !== undefined)) return undefined
  return {
    traceId,
    spanId,
    isSampled: (parseInt(String(flags), 16) & 1) === 1,
    headers: isTracestate(tracestate) ? { traceparent, tracestate } : { traceparent }
  }
}

function isTracestate (text: string | undefined): text is string {
  if (text === undefined || text.length > longestHeader) return false
  const members = text.split(',').map(member => member.replace(/^[ \t]+|[ \t]+$/g, '')).filter(member => member !== '')
  return members.length > 0 && members.length <= maxMembers && members.every(member => memberPattern.test(member))
}

const untracedAttempt: AttemptTrace = Object.freeze({ headers: Object.freeze({}), end () {} })

/** The trace of a request that is not traced. */
export const untraced: RequestTrace = Object.freeze({
  traceId: undefined, startAttempt: () => untracedAttempt, end () {}
})

/** Creates the tracer of a service without an exporter. It passes the caller's headers on and records no span. */
export function createPassingTracer (): Tracer {
  return {
    startRequest ({ traceparent, tracestate }) {
      const context = readTraceContext(traceparent, tracestate)
      if (context === undefined) return untraced
      const { traceId, headers } = context
      return { traceId, startAttempt: () => ({ headers, end () {} }), end () {} }
    },
    close: () => Promise.resolve()
  }
}

/** Creates a tracer that neither reads W3C Trace Context from requests nor sends it to COS. */
export function withoutPropagation ({ startRequest, close }: Tracer): Tracer {
  return {
    startRequest (request) {
      const trace = startRequest({ ...request, traceparent: undefined, tracestate: undefined })
      return { ...trace, startAttempt: attempt => ({ ...trace.startAttempt(attempt), headers: {} }) }
    },
    close
  }
}
