import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bytes, chunksOf, partOf, sizeOf } from './content.ts'
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
      return await sendAndEnd(socket, response, fault.bytes)
    case 'reset-mid-answer':
      await sendBeginning(socket, response)
      socket.resetAndDestroy()
      return
    case 'drip':
      return await drip(socket, response, fault.ms)
    default:
      return await send(outgoing, response)
  }
}

async function send (outgoing: ServerResponse, { status, headers, body }: CosResponse): Promise<void> {
  outgoing.sendDate = false
  outgoing.writeHead(status, headers)
  if (Buffer.isBuffer(body)) {
    outgoing.end(body)
    return
  }
  try {
    await pipeline(Readable.from(body.read(), { objectMode: false }), outgoing)
  } catch {
    // The client has closed the connection, as it may for a long body.
  }
}

/**
 * Sends the beginning of a response, then ends the connection.
 *
 * @param bytes of the body, or of the head when there is no body; half when absent
 */
export async function sendAndEnd (socket: Duplex, response: CosResponse, bytes?: number): Promise<void> {
  await sendBeginning(socket, response, bytes)
  end(socket)
}

async function sendBeginning (socket: Duplex, response: CosResponse, bytes?: number): Promise<void> {
  const { whole, broken } = toParts(response)
  const size = sizeOf(broken)
  const beginning = partOf(broken, 0, Math.min(bytes ?? Math.floor(size / 2), size))
  let isOpen = await write(socket, whole)
  for await (const chunk of chunksOf(beginning)) {
    if (!isOpen) return
    isOpen = await write(socket, chunk)
  }
}

async function drip (socket: Duplex, response: CosResponse, ms: number): Promise<void> {
  const { whole, broken } = toParts(response)
  await write(socket, whole)
  for await (const chunk of chunksOf(broken)) {
    for (const byte of chunk) {
      if (!await write(socket, Buffer.of(byte))) return
      await sleep(ms, undefined, { ref: false })
    }
  }
  end(socket)
}

/** Resolves when the system has taken the bytes; to false when the connection is closed. */
async function write (socket: Duplex, bytes: Buffer): Promise<boolean> {
  return socket.writable && await new Promise(resolve => {
    socket.write(bytes, error => { resolve(error == null) })
  })
}

// Otherwise a client that keeps its side open would keep the socket forever.
function end (socket: Duplex): void {
  socket.end(() => { socket.destroy() })
}

// A response breaks in its body. A response without a body breaks in its head.
function toParts (response: CosResponse): { whole: Buffer, broken: Bytes } {
  const head = toClosingHead(response)
  const isEmpty = sizeOf(response.body) === 0
  return isEmpty ? { whole: Buffer.alloc(0), broken: head } : { whole: head, broken: response.body }
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
  if (repeat !== undefined) {
    return { status, headers, body: { size: bytes.length * repeat, read: () => repeated(bytes, repeat) } }
  }
  const isFramed = Object.keys(headers).some(name => /^(content-length|transfer-encoding)$/i.test(name))
  const length = isFramed ? {} : { 'Content-Length': String(bytes.length) }
  return { status, headers: { ...headers, ...length }, body: bytes }
}

function * repeated (bytes: Buffer, times: number): Generator<Buffer> {
  for (let sent = 0; sent < times; sent++) yield bytes
}
