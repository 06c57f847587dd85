/**
 * The double of COS for the measurements. It shares a core with the load, so it does little work. It parses HTTP with
 * regular expressions and prepares its documents. It checks no requests; the emulator does.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import {
  changingBucket, configurationXml, ids, owner, pageSize, revision, richBucket, richConfigurationXml, slowBucket, slowMs
} from './documents.ts'

const prolog = "<?xml version='1.0' encoding='utf-8' ?>\n"
const [beforeId = '', afterId = ''] = (prolog + configurationXml('\0')).split('\0')
// There are several pages, used round-robin, as for several buckets.
const pages = pagesOf(configurationXml)
const richPages = pagesOf(richConfigurationXml)

function pagesOf (write: (id: string) => string): string[] {
  return Array.from({ length: ids.length / pageSize }, (_, page) => {
    const items = ids.slice(page * pageSize, (page + 1) * pageSize).map(write)
    const root = 'ListInventoryConfigurationResult'
    return `${prolog}<${root}>${items.join('')}<IsTruncated>false</IsTruncated></${root}>`
  })
}

let date = new Date().toUTCString()
setInterval(() => { date = new Date().toUTCString() }, 1_000)
let responses = 0

// The form of request ids of COS: Base64 of hexadecimal numbers.
function requestId (): string {
  return Buffer.from(`65a1b2c3_${(responses + 0x10000000).toString(16)}_1f4e_2a91bd`).toString('base64')
}

function respond (socket: Socket, status: string, body: string): void {
  responses += 1
  const id = requestId()
  socket.write(`HTTP/1.1 ${status}\r\nContent-Type: application/xml\r\nContent-Length: ${body.length}\r\n` +
    `Connection: keep-alive\r\nDate: ${date}\r\nServer: tencent-cos\r\nx-cos-request-id: ${id}\r\nx-cos-trace-id: ${id}\r\n\r\n${body}`,
  'latin1')
}

function respondTo (socket: Socket, request: string): void {
  // Some clients write `inventory=`, others `inventory`.
  const [, method, id] = /^(GET|PUT|DELETE) \/\?inventory=?(?:&id=([\w.-]+))? HTTP\/1\.1\r\n/.exec(request) ?? []
  if (method === undefined) return respond(socket, '400 Bad Request', '')
  if (method === 'PUT') return respond(socket, '200 OK', '')
  if (method === 'DELETE') return respond(socket, '204 No Content', '')
  const kind = request.includes(richBucket) ? richPages : pages
  const xml = id === undefined ? kind[responses % kind.length] as string : beforeId + id + afterId
  // Documents of this bucket change, so that caches have no effect.
  respond(socket, '200 OK', request.includes(changingBucket) ? xml.replaceAll(owner, revision(responses)) : xml)
}

/** Returns the length of the first request with its body; undefined while it is incomplete. */
function lengthOfFirst (received: string): number | undefined {
  const headLength = received.indexOf('\r\n\r\n') + 4
  if (headLength < 4) return undefined
  const [, bodyLength = 0] = /\r\ncontent-length: *(\d+)\r\n/i.exec(received.slice(0, headLength)) ?? []
  const length = headLength + Number(bodyLength)
  return received.length < length ? undefined : length
}

function serve (socket: Socket): void {
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    received += chunk
    for (;;) {
      const length = lengthOfFirst(received)
      if (length === undefined) return
      const request = received.slice(0, length)
      received = received.slice(length)
      if (request.includes(slowBucket)) setTimeout(respondTo, slowMs, socket, request)
      else respondTo(socket, request)
    }
  })
  // A client that is killed resets its connections.
  socket.on('error', () => {})
}

const { TLS_CERTIFICATE, TLS_KEY = '' } = process.env
const server = TLS_CERTIFICATE === undefined
  ? createServer({ noDelay: true }, serve)
  : createTlsServer({ noDelay: true, cert: readFileSync(TLS_CERTIFICATE), key: readFileSync(TLS_KEY) }, serve)

server.listen(0, '127.0.0.1', () => {
  console.log(`listening at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
