import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CosResponse, toClosingHead, toErrorResponse, toResponse } from './response.ts'
import type { ResponseFault, ErrorFault, RawFault } from './faults.ts'

/**
 * Returns the response that replaces the true one because of a fault; undefined when the client gets no response.
 *
 * @param resource host and path of the request, for error documents
 */
export function replaceResponse (
  fault: ResponseFault | undefined, response: CosResponse, resource: string, nowMs: number
): CosResponse | undefined {
  switch (fault?.kind) {
    case 'reset':
    case 'hang':
      return undefined
    case 'error':
      return toFaultResponse(fault, resource, nowMs)
    case 'garbage':
      return withBody(toResponse({ status: 200, body: '' }, nowMs), randomBytes(256))
    case 'raw':
      return toRawResponse(fault)
    default:
      return response
  }
}

/** Sends a response, changed by its fault. Resolves when everything is sent. */
export async function deliver (
  outgoing: ServerResponse, fault: ResponseFault | undefined, response: CosResponse | undefined
): Promise<void> {
  const { socket } = outgoing.req
  if (response === undefined) {
    if (fault?.kind === 'reset') socket.resetAndDestroy()
    return
  }
  switch (fault?.kind) {
    case 'cut':
      end(socket, toBeginning(response, fault.bytes))
      return
    case 'reset-mid-answer':
      socket.write(toBeginning(response), () => socket.resetAndDestroy())
      return
    case 'drip':
      return await drip(socket, response, fault.ms)
    default:
      return await send(outgoing, response)
  }
}

async function send (outgoing: ServerResponse, { status, headers, body, repeat }: CosResponse): Promise<void> {
  outgoing.sendDate = false
  outgoing.writeHead(status, headers)
  if (repeat === undefined) {
    outgoing.end(body)
    return
  }
  try {
    await pipeline(Readable.from(repeated(body, repeat), { objectMode: false }), outgoing)
  } catch {
    // The client has closed the connection, as it may for a long body.
  }
}

function * repeated (body: Buffer, times: number): Generator<Buffer> {
  for (let sent = 0; sent < times; sent++) yield body
}

async function drip (socket: Socket, response: CosResponse, ms: number): Promise<void> {
  const { whole, broken } = toBytes(response)
  socket.write(whole)
  for (const byte of broken) {
    if (!socket.writable) return
    socket.write(Buffer.of(byte))
    await sleep(ms, undefined, { ref: false })
  }
  end(socket)
}

/** Ends a connection on both sides. Otherwise a client that keeps its side open would keep the socket forever. */
export function end (socket: Duplex, bytes: Buffer = Buffer.alloc(0)): void {
  socket.end(bytes, () => { socket.destroy() })
}

function toBeginning (response: CosResponse, bytes?: number): Buffer {
  const { whole, broken } = toBytes(response)
  return Buffer.concat([whole, broken.subarray(0, bytes ?? broken.length >> 1)])
}

// A response breaks in its body. A response without a body breaks in its head.
function toBytes (response: CosResponse): { whole: Buffer, broken: Buffer } {
  const head = toClosingHead(response)
  if (response.body.length === 0) return { whole: Buffer.alloc(0), broken: head }
  return { whole: head, broken: response.body }
}

function toFaultResponse (fault: ErrorFault, resource: string, nowMs: number): CosResponse {
  const { status, code, message = code, headers, form = 'xml' } = fault
  const response = toErrorResponse({ status, code, message }, resource, nowMs)
  const formed = toForm(form, response, code, message)
  return { ...formed, headers: { ...formed.headers, ...headers } }
}

function toForm (
  form: NonNullable<ErrorFault['form']>, response: CosResponse, code: string, message: string
): CosResponse {
  switch (form) {
    case 'xml':
      return response
    case 'json': {
      const said = { code, message, request_id: response.headers['x-cos-request-id'] }
      return withBody(response, Buffer.from(JSON.stringify(said)), 'application/json')
    }
    case 'header-only': {
      const { 'Content-Type': _type, ...headers } = withBody(response, Buffer.alloc(0)).headers
      return { ...response, headers: { ...headers, 'x-cos-error-code': code }, body: Buffer.alloc(0) }
    }
    case 'html': {
      const page = Buffer.from(`<html><head><title>${code}</title></head><body>${message}</body></html>\n`)
      return { ...response, headers: gatewayHeaders(page, 'text/html'), body: page }
    }
    case 'empty':
      return { ...response, headers: gatewayHeaders(Buffer.alloc(0)), body: Buffer.alloc(0) }
  }
}

function withBody (response: CosResponse, body: Buffer, type = 'application/xml'): CosResponse {
  const headers = { ...response.headers, 'Content-Type': type, 'Content-Length': String(body.length) }
  return { ...response, headers, body }
}

// A gateway does not know COS's request ids. SDKs use that to tell a gateway from COS.
function gatewayHeaders (body: Buffer, type?: string): Record<string, string> {
  return { ...(type && { 'Content-Type': type }), 'Content-Length': String(body.length) }
}

function toRawResponse ({ status, headers = {}, body = '', repeat }: RawFault): CosResponse {
  const bytes = Buffer.from(body)
  const isFramed = Object.keys(headers).some(name => /^(content-length|transfer-encoding)$/i.test(name))
  const length = isFramed || repeat !== undefined ? {} : { 'Content-Length': String(bytes.length) }
  return { status, headers: { ...headers, ...length }, body: bytes, ...(repeat !== undefined && { repeat }) }
}
