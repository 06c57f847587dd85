import type { CosContext } from '../../errors.ts'
import { retryAdvice, UpstreamError } from '../upstream-error.ts'
import type { Read } from './attempt.ts'
import type { CosResponse } from './messages.ts'
import { cosContext } from './response-headers.ts'

/** The result of a call, and COS's ids of the exchange. */
export interface Outcome<T> {
  value: T
  cos: CosContext
}

/**
 * Returns a function that reads the body of a successful response. It throws UpstreamInvalidResponse for any error of
 * the parser that is not an {@link UpstreamError}.
 */
export function reading<T> (parse: (body: Uint8Array) => T | Promise<T>): Read<Outcome<T>> {
  return async response => {
    const cos = cosContext(response)
    try {
      return { value: await parse(response.body), cos }
    } catch (error) {
      if (error instanceof UpstreamError) throw error
      throw invalidResponse(`COS returned a malformed or unexpected XML document. ${retryAdvice}`,
        { cause: error, cos })
    }
  }
}

/**
 * Reads the empty response of a change. A response without COS's request id, or with a body, is one of a gateway.
 *
 * @throws {UpstreamError} UpstreamInvalidResponse for any other response
 */
export function acknowledge (response: CosResponse): Outcome<undefined> {
  const cos = cosContext(response)
  if (cos.requestId === undefined || !isBlank(response.body)) {
    throw invalidResponse('The success response is not one of COS; a gateway may have sent it. ' +
      retryAdvice, { cos })
  }
  return { value: undefined, cos }
}

/** Tells whether a body is empty or only white space of XML. */
export function isBlank (body: Uint8Array): boolean {
  return body.every(byte => byte === 0x20 || byte === 0x09 || byte === 0x0A || byte === 0x0D)
}

/** Returns the error of a response that is not one of COS. */
export function invalidResponse (detail: string, more: { cause?: unknown, cos: CosContext }): UpstreamError {
  return new UpstreamError('UpstreamInvalidResponse', detail, { class: 'invalid', remedy: 'retry', ...more })
}
