import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, toAnswer, toClosingHead, toErrorAnswer } from './answer.ts'
import type { AnswerFault, ErrorFault, RawFault } from './faults.ts'

/**
 * The answer a fault puts in the place of the true one; undefined when the client gets none.
 * @param resource host and path of the request, for error documents
 */
export function replaceAnswer (
  fault: AnswerFault | undefined, answer: Answer, resource: string, nowMs: number
): Answer | undefined {
  switch (fault?.kind) {
    case 'reset':
    case 'hang':
      return undefined
    case 'error':
      return toFaultAnswer(fault, resource, nowMs)
    case 'garbage':
      return withBody(toAnswer({ status: 200, body: '' }, nowMs), randomBytes(256))
    case 'raw':
      return toRawAnswer(fault)
    default:
      return answer
  }
}

/** Sends an answer the way its fault wants; resolves when there is nothing more to send. */
export async function deliver (
  response: ServerResponse, fault: AnswerFault | undefined, answer: Answer | undefined
): Promise<void> {
  const { socket } = response.req
  if (answer === undefined) {
    if (fault?.kind === 'reset') socket.resetAndDestroy()
    return
  }
  switch (fault?.kind) {
    case 'cut':
      end(socket, toBeginning(answer, fault.bytes))
      return
    case 'reset-mid-answer':
      socket.write(toBeginning(answer), () => socket.resetAndDestroy())
      return
    case 'drip':
      return await drip(socket, answer, fault.ms)
    default:
      return await send(response, answer)
  }
}

async function send (response: ServerResponse, { status, headers, body, repeat }: Answer): Promise<void> {
  response.sendDate = false
  response.writeHead(status, headers)
  if (repeat === undefined) {
    response.end(body)
    return
  }
  try {
    await pipeline(Readable.from(repeated(body, repeat), { objectMode: false }), response)
  } catch {
    // The client has seen enough.
  }
}

function * repeated (body: Buffer, times: number): Generator<Buffer> {
  for (let sent = 0; sent < times; sent++) yield body
}

async function drip (socket: Socket, answer: Answer, ms: number): Promise<void> {
  const { whole, broken } = toBytes(answer)
  socket.write(whole)
  for (const byte of broken) {
    if (!socket.writable) return
    socket.write(Buffer.of(byte))
    await sleep(ms, undefined, { ref: false })
  }
  end(socket)
}

/** Ends a connection on both sides: a client that keeps its own open would hold the socket for ever. */
export function end (socket: Duplex, bytes: Buffer = Buffer.alloc(0)): void {
  socket.end(bytes, () => { socket.destroy() })
}

function toBeginning (answer: Answer, bytes?: number): Buffer {
  const { whole, broken } = toBytes(answer)
  return Buffer.concat([whole, broken.subarray(0, bytes ?? broken.length >> 1)])
}

// An answer breaks in its body; one that has none breaks in its head, or it would not be broken at all.
function toBytes (answer: Answer): { whole: Buffer, broken: Buffer } {
  const head = toClosingHead(answer)
  if (answer.body.length === 0) return { whole: Buffer.alloc(0), broken: head }
  return { whole: head, broken: answer.body }
}

function toFaultAnswer (fault: ErrorFault, resource: string, nowMs: number): Answer {
  const { status, code, message = code, headers, form = 'xml' } = fault
  const answer = toErrorAnswer({ status, code, message }, resource, nowMs)
  const formed = toForm(form, answer, code, message)
  return { ...formed, headers: { ...formed.headers, ...headers } }
}

function toForm (
  form: NonNullable<ErrorFault['form']>, answer: Answer, code: string, message: string
): Answer {
  switch (form) {
    case 'xml':
      return answer
    case 'json': {
      const said = { code, message, request_id: answer.headers['x-cos-request-id'] }
      return withBody(answer, Buffer.from(JSON.stringify(said)), 'application/json')
    }
    case 'header-only': {
      const { 'Content-Type': _type, ...headers } = withBody(answer, Buffer.alloc(0)).headers
      return { ...answer, headers: { ...headers, 'x-cos-error-code': code }, body: Buffer.alloc(0) }
    }
    case 'html': {
      const page = Buffer.from(`<html><head><title>${code}</title></head><body>${message}</body></html>\n`)
      return { ...answer, headers: gatewayHeaders(page, 'text/html'), body: page }
    }
    case 'empty':
      return { ...answer, headers: gatewayHeaders(Buffer.alloc(0)), body: Buffer.alloc(0) }
  }
}

function withBody (answer: Answer, body: Buffer, type = 'application/xml'): Answer {
  const headers = { ...answer.headers, 'Content-Type': type, 'Content-Length': String(body.length) }
  return { ...answer, headers, body }
}

// A gateway in front of COS does not know COS's request ids; SDKs tell the two apart by that.
function gatewayHeaders (body: Buffer, type?: string): Record<string, string> {
  return { ...(type && { 'Content-Type': type }), 'Content-Length': String(body.length) }
}

function toRawAnswer ({ status, headers = {}, body = '', repeat }: RawFault): Answer {
  const bytes = Buffer.from(body)
  const isFramed = Object.keys(headers).some(name => /^(content-length|transfer-encoding)$/i.test(name))
  const length = isFramed || repeat !== undefined ? {} : { 'Content-Length': String(bytes.length) }
  return { status, headers: { ...headers, ...length }, body: bytes, ...(repeat !== undefined && { repeat }) }
}
