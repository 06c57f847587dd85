/**
 * Where a request stands in a distributed trace (W3C Trace Context). Without an exporter nothing is recorded here: what
 * the caller sent is passed on to COS as it came, so that the trace does not end at this service.
 */

/** A request as its span tells of it. */
export interface RequestFields {
  method: string
  /** Template such as `/buckets/:bucket/inventories/:id`; undefined when no route was found. */
  route: string | undefined
  /** Without the query. */
  path: string
  /** Where the request comes from, an IP address. */
  address: string
  requestId: string
  /** The headers of these names, as they came. */
  traceparent: string | undefined
  tracestate: string | undefined
}

/** One sending of a call to COS. */
export interface AttemptFields {
  /** Name of the operation, such as `PutBucketInventory`. */
  operation: string
  method: string
  /** Such as `https://examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com`. */
  origin: string
  /** Path and query. */
  target: string
  /** 1 for the first, 2 for the first retry. */
  number: number
}

/** The trace context of a request, and the spans of its calls. */
export interface RequestTrace {
  /** 32 hex digits; undefined when the caller sent none and nothing is traced here. */
  traceId: string | undefined
  /** Begins an attempt to call COS. */
  startAttempt (attempt: AttemptFields): AttemptTrace
  /**
   * The request has its answer, or its caller left before (no status). Only the first call counts.
   *
   * @param fields.code that of the problem document, when it is one
   */
  end (fields: { status: number | undefined, code: string | undefined, caller: string | undefined }): void
}

/** One attempt within a trace. */
export interface AttemptTrace {
  /** What the request to COS carries on: `traceparent` and `tracestate`, or nothing. Not to be signed. */
  headers: Readonly<Record<string, string>>
  /**
   * The attempt is over. Only the first call counts.
   *
   * @param fields.error what went wrong, as a code or class; an HTTP status of 400 and above is an error without it
   */
  end (fields: { status: number | undefined, cosRequestId: string | undefined, error: string | undefined }): void
}

/** Follows requests. */
export interface Tracer {
  startRequest (request: RequestFields): RequestTrace
  /** Sends what is recorded and not yet sent. Always resolves. */
  close (): Promise<void>
}

/** A trace context that a caller sent. */
export interface TraceContext {
  /** 32 hex digits. */
  traceId: string
  /** 16 hex digits: the caller's span. */
  spanId: string
  isSampled: boolean
  /** The headers it came in, unchanged. */
  headers: Readonly<Record<string, string>>
}

/** Longer headers are not passed on; a tracestate of up to 512 characters should be (W3C Trace Context, 3.3.1.5). */
const longestHeader = 512

/** Version, trace-id, parent-id, trace-flags, and what a later version may add (W3C Trace Context, 3.2). */
const traceparentPattern =
  /^((?!ff)[0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7E]*)?$/

/** A member of the list, or none between two commas (W3C Trace Context, 3.3.1). */
const memberPattern = /^(?:[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2B\x2D-\x3C\x3E-\x7E]{0,255}[\x21-\x2B\x2D-\x3C\x3E-\x7E])?$/

/** A list may have this many members (W3C Trace Context, 3.3.1.1). */
const maxMembers = 32

/**
 * Reads `traceparent` and `tracestate` as W3C Trace Context has them. Of a version above 00 the part that all versions
 * have is read.
 *
 * @returns undefined when the traceparent is missing or malformed; a tracestate that is malformed, or longer than 512
 *   characters, is left out
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

/** The tracer of a service without an exporter: it passes on what callers send, unchanged, and makes up nothing. */
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
