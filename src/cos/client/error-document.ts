import { maxErrorBytes } from '../operations.ts'
import { childText, errorExtent, parseXml } from '../xml/parser.ts'
import type { CosResponse } from './messages.ts'
import { headerText, quotes } from './response-headers.ts'

/** An error of COS in any of its forms (COS document 7730). */
export interface CosError {
  code: string
  message: string
}

const longestMessage = 500

/**
 * Tells whether the body of a response is an error, independent of its status. Gateways, and COS for long operations,
 * may send status 200 before an error occurs.
 */
export function isErrorDocument ({ body }: CosResponse): boolean {
  return body.length <= maxErrorBytes && Buffer.from(body.buffer, body.byteOffset, body.length).includes('<Error') &&
    fromXml(body) !== undefined
}

/** Returns the error of a response from its XML, its JSON or its headers; undefined when it has no valid code. */
export function readError (response: CosResponse): CosError | undefined {
  const { headers, body } = response
  const type = headerText(headers['content-type'])
  const stated = (type.includes('json') ? fromJson(body) : fromXml(body)) ??
    { code: headerText(headers['x-cos-error-code']), message: headerText(headers['x-cos-error-message']) }
  const code = stated.code.trim()
  if (!/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$/.test(code) || reflects(response, code)) return undefined
  // A second line would look like a line of the service in a log for people.
  const message = stated.message.replace(/\p{Cc}+/gu, ' ').trim()
  return { code, message: reflects(response, message) ? '' : message.slice(0, longestMessage) }
}

/** Tells whether a text may quote credentials of the request, as some gateways do. Such a text is not passed on. */
function reflects ({ confidential }: CosResponse, text: string): boolean {
  return /AKID/.test(text) || quotes(confidential, text)
}

function fromXml (body: Uint8Array): CosError | undefined {
  try {
    const root = parseXml(body, errorExtent)
    return root.name === 'Error' ? { code: childText(root, 'Code'), message: childText(root, 'Message') } : undefined
  } catch {
    return undefined
  }
}

function fromJson (body: Uint8Array): CosError | undefined {
  try {
    const json = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown> | null
    const textOf = (...names: string[]) =>
      String(names.map(name => json?.[name]).find(value => ['string', 'number'].includes(typeof value)) ?? '')
    return { code: textOf('code', 'Code'), message: textOf('message', 'Message') }
  } catch {
    return undefined
  }
}
