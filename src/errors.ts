import type { Component } from './contract/readiness.ts'
import { problemTable } from './problem-table.ts'
import type { ProblemCode } from './problem-table.ts'

export { problemTable }
export type { ProblemCode }

/** One issue of a request: its part, its place (RFC 6901 pointer) and the remedy. */
export interface ValidationIssue {
  in: 'path' | 'query' | 'header' | 'body'
  pointer: string
  detail: string
}

/** Ids of an exchange with COS. Callers may see them. */
export interface CosContext {
  requestId?: string | undefined
  traceId?: string | undefined
}

/** Further properties of a {@link ServiceError}. */
export interface ServiceErrorOptions {
  cause?: unknown
  errors?: ValidationIssue[] | undefined
  cos?: CosContext | undefined
  cosCode?: string | undefined
  retryAfterSeconds?: number | undefined
  challenge?: string | undefined
  mayHaveTakenEffect?: boolean
  components?: readonly Component[] | undefined
}

/**
 * A failure that is reported to the caller. `detail` says what happened and what to do. It never quotes a secret or the
 * message of a cause.
 */
export class ServiceError extends Error {
  readonly code: string
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly errors: ValidationIssue[] | undefined
  readonly cos: CosContext | undefined
  readonly cosCode: string | undefined
  readonly retryAfterSeconds: number | undefined
  /** The value of WWW-Authenticate (RFC 9110, section 11.6.1). */
  readonly challenge: string | undefined
  /** Whether COS may have made the change despite the failure. */
  readonly mayHaveTakenEffect: boolean
  /** The components of the service, if the request asked for them. */
  readonly components: readonly Component[] | undefined

  /**
   * @param kind a code of the table, or a code of COS with the status of the response
   * @param detail what happened, and what the caller can do
   */
  constructor (
    kind: ProblemCode | { code: string, status: number, title: string },
    detail: string,
    options: ServiceErrorOptions = {}
  ) {
    super(detail, { cause: options.cause })
    this.name = 'ServiceError'
    const { code, status, title } = typeof kind === 'string' ? { code: kind, ...problemTable[kind] } : kind
    this.code = code
    this.status = status
    this.title = title
    this.detail = detail
    this.errors = options.errors
    this.cos = options.cos
    this.cosCode = options.cosCode
    this.retryAfterSeconds = options.retryAfterSeconds
    this.challenge = options.challenge
    this.mayHaveTakenEffect = options.mayHaveTakenEffect ?? false
    this.components = options.components
  }
}

/** The kind of an error whose caller disconnected. Only the log, the metrics and the audit show it. */
export const callerLeft = { code: 'CallerLeft', status: 499, title: 'Client Closed Request' }
