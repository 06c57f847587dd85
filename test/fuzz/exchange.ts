import { connect } from 'node:net'

/** A response, perhaps incomplete. */
export interface Response {
  status: number
  contentType: string
  body: string
}

/** The client disconnects after this many bytes, which are enough to check the response. */
const mostBytes = 16 * 1024 * 1024

/** This limit exceeds each time limit of the service, so a connection that stays open longer is an error. */
const longestMs = 60_000

/**
 * Sends bytes over a new connection and returns the responses until the service closes it, at most 16 MiB.
 *
 * @throws {Error} when the service keeps the connection open
 */
export async function exchange (port: number, bytes: Buffer): Promise<Response[]> {
  const chunks: Buffer[] = []
  let isLate = false
  const socket = connect(port, '127.0.0.1')
  let received = 0
  socket.on('data', chunk => {
    chunks.push(chunk)
    received += chunk.length
    if (received > mostBytes) socket.destroy()
  })
  // The service may close the connection before it has read all bytes, which is not an error here.
  socket.on('error', () => {})
  socket.setTimeout(longestMs, () => {
    isLate = true
    socket.destroy()
  })
  socket.write(bytes)
  await new Promise<void>(resolve => { socket.once('close', () => { resolve() }) })
  if (isLate) throw new Error(`the connection was still open after ${longestMs} ms`)
  return readResponses(Buffer.concat(chunks).toString('latin1'))
}

/** Sends bytes and reads nothing. Returns a function that closes the connection. */
export async function sendWithoutReading (port: number, bytes: Buffer): Promise<() => void> {
  const socket = connect(port, '127.0.0.1').pause()
  socket.on('error', () => {})
  await new Promise<void>(resolve => { socket.once('connect', () => { resolve() }) })
  socket.write(bytes)
  return () => { socket.destroy() }
}

/** Splits at status lines, because a response to HEAD has a Content-Length and no body. */
function readResponses (text: string): Response[] {
  const parts = text.split(/(?=HTTP\/1\.1 [1-5][0-9]{2} )/).filter(part => part !== '')
  return parts.map(part => {
    const end = part.indexOf('\r\n\r\n')
    const head = part.slice(0, end)
    return {
      status: Number(part.slice(9, 12)),
      contentType: /\r\ncontent-type: ([^\r]*)/i.exec(head)?.[1] ?? '',
      body: part.slice(end + 4)
    }
  }).filter(({ status }) => status !== 100)
}
