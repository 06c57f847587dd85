import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http'
import { type Socket, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { exampleBuckets, exampleCredential } from '../../src/emulator/examples.ts'
import {
  type Emulator, type EmulatorCredential, type EmulatorOptions, startEmulator
} from '../../src/emulator/server.ts'

export const bucketName = 'examplebucket-1250000000'
export const bucketHost = `${bucketName}.cos.ap-guangzhou.myqcloud.com`

type Headers = Record<string, string | string[]>

export interface Sent {
  /** GET by default. */
  method?: string
  target: string
  host?: string
  headers?: Headers
  body?: string | Buffer
  /** The example key by default; null sends no signature. */
  credential?: EmulatorCredential | null
  /** `start;end` in seconds; by default from one minute ago to 15 minutes ahead. */
  keyTime?: string
  /** Replaces the signature; receives the valid one. */
  authorize?: (authorization: string) => string
  /** Changes the request after it was signed. */
  tamper?: (request: { method: string, target: string, headers: Headers }) => void
}

/** Address for requests: an emulator, or its host and port. */
export type Endpoint = Pick<Emulator, 'host' | 'port'>

export interface ReceivedResponse { status: number, headers: IncomingHttpHeaders, body: string }

/** Starts an emulator with the example key and buckets. It is closed at the end of the test. */
export async function startForTest (
  t: { teardown: (close: () => Promise<void>) => void }, options: Partial<EmulatorOptions> = {}
): Promise<Emulator> {
  const defaults = { credentials: [exampleCredential], buckets: exampleBuckets }
  const emulator = await startEmulator({ ...defaults, ...options })
  t.teardown(() => emulator.close())
  return emulator
}

/** Sends a signed request over a new connection. */
export async function send (emulator: Endpoint, sent: Sent): Promise<ReceivedResponse> {
  return readResponse(await sendHead(emulator, sent))
}

/** Sends a signed request and returns the response without reading its body. */
export async function sendHead (emulator: Endpoint, sent: Sent): Promise<IncomingMessage> {
  const { method, target, headers } = toSigned(sent)
  const { host, port } = emulator
  const outgoing = httpRequest({ host, port, method, path: target, headers, agent: false, setHost: false })
  outgoing.end(sent.body)
  const [incoming] = await once(outgoing, 'response') as [IncomingMessage]
  // A later connection error belongs to the response. Newer versions of Node emit it here too.
  outgoing.on('error', () => {})
  return incoming
}

export async function readResponse (incoming: IncomingMessage): Promise<ReceivedResponse> {
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: await text(incoming) }
}

/** Sends raw bytes and returns everything received until the connection ends. */
export async function exchange (emulator: Endpoint, bytes: string): Promise<string> {
  const socket = await open(emulator)
  socket.end(bytes)
  return await text(socket)
}

/** Opens a connection and ignores its errors; tests wait for its `close` event. */
export async function open (emulator: Endpoint): Promise<Socket> {
  const socket = connect(emulator.port, emulator.host)
  await once(socket, 'connect')
  return socket.on('error', () => {})
}

/** Returns the signed head of a request as bytes, for requests that HTTP clients do not send. */
export function toHead (sent: Sent): string {
  const { method, target, headers } = toSigned(sent)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** Resolves when a connection has ended for any reason. */
export async function ended (socket: Socket): Promise<void> {
  await new Promise(resolve => socket.resume().on('close', resolve))
}

function toSigned (sent: Sent): { method: string, target: string, headers: Headers } {
  const { method = 'GET', target, host = bucketHost, body, credential = exampleCredential } = sent
  const { authorize = right => right } = sent
  const now = Math.floor(Date.now() / 1000)
  const { keyTime = `${now - 60};${now + 900}` } = sent
  const headers: Headers = { Host: host, ...sent.headers }
  const signed = Object.fromEntries(Object.entries(headers)
    .filter(([name, value]) => typeof value === 'string' && name !== 'Connection')) as Record<string, string>
  if (body !== undefined && !('Transfer-Encoding' in headers)) {
    headers['Content-Length'] ??= String(Buffer.byteLength(body))
  }
  if (credential !== null) {
    headers['Authorization'] ??= authorize(toAuthorization({ method, target, headers: signed, credential, keyTime }))
  }
  const request = { method, target, headers }
  sent.tamper?.(request)
  return request
}

export interface Signable {
  method: string
  target: string
  headers: Record<string, string>
  credential: EmulatorCredential
  keyTime: string
}

/** Returns the Authorization value with all given headers and all parameters signed (COS document 7778). */
export function toAuthorization ({ method, target, headers, credential, keyTime }: Signable): string {
  // A URL would resolve the dots of a path.
  const [path = '', query = ''] = target.split('?')
  const params = toPairs([...new URLSearchParams(query)])
  const heads = toPairs(Object.entries(headers))
  const httpString = [method.toLowerCase(), decodeURIComponent(path), params.text, heads.text, ''].join('\n')
  const stringToSign = `sha1\n${keyTime}\n${createHash('sha1').update(httpString).digest('hex')}\n`
  const signature = hmac(hmac(credential.secretKey, keyTime), stringToSign)
  return `q-sign-algorithm=sha1&q-ak=${credential.secretId}&q-sign-time=${keyTime}&q-key-time=${keyTime}` +
    `&q-header-list=${heads.list}&q-url-param-list=${params.list}&q-signature=${signature}`
}

function toPairs (pairs: Array<[string, string]>): { list: string, text: string } {
  const encoded = pairs
    .map(([name, value]): [string, string] => [encode(name).toLowerCase(), encode(value)])
    .sort(([one], [other]) => one < other ? -1 : 1)
  return {
    list: encoded.map(([name]) => name).join(';'),
    text: encoded.map(pair => pair.join('=')).join('&')
  }
}

function encode (value: string): string {
  return encodeURIComponent(value)
    .replace(/[!'()*]/g, found => `%${found.charCodeAt(0).toString(16).toUpperCase()}`)
}

function hmac (key: string, value: string): string {
  return createHmac('sha1', key).update(value).digest('hex')
}

/** Returns the headers that a body needs. */
export function forBody (body: string | Buffer): Record<string, string> {
  return {
    'Content-Type': 'application/xml',
    'Content-MD5': createHash('md5').update(body).digest('base64')
  }
}

/** Returns a PUT of a configuration, or a POST. */
export function toPut (id: string, body: string | Buffer = toDocument(id), method = 'PUT'): Sent {
  return { method, target: `/?inventory&id=${encodeURIComponent(id)}`, headers: forBody(body), body }
}

/** Returns a configuration as in COS document 30625. Parts replace the default ones; an empty part removes one. */
export function toDocument (id: string, parts: Record<string, string> = {}): string {
  const all: Record<string, string> = {
    Id: `<Id>${id}</Id>`,
    IsEnabled: '<IsEnabled>true</IsEnabled>',
    IncludedObjectVersions: '<IncludedObjectVersions>All</IncludedObjectVersions>',
    Filter: '<Filter><Prefix>myPrefix</Prefix></Filter>',
    OptionalFields: '<OptionalFields><Field>Size</Field><Field>ETag</Field></OptionalFields>',
    Schedule: '<Schedule><Frequency>Daily</Frequency></Schedule>',
    Destination: toDestination({}),
    ...parts
  }
  return `<InventoryConfiguration>${Object.values(all).join('')}</InventoryConfiguration>`
}

export function toDestination (parts: Record<string, string>): string {
  const all: Record<string, string> = {
    Format: '<Format>CSV</Format>',
    AccountId: '<AccountId>100000000001</AccountId>',
    Bucket: '<Bucket>qcs::cos:ap-guangzhou::reports-1250000000</Bucket>',
    Prefix: '<Prefix>list1</Prefix>',
    Encryption: '<Encryption><SSE-COS></SSE-COS></Encryption>',
    ...parts
  }
  const elements = Object.values(all).join('')
  return `<Destination><COSBucketDestination>${elements}</COSBucketDestination></Destination>`
}

/** Returns the POST of a one-time job (COS document 46869). */
export function toJob (id: string): Sent {
  return toPut(id, toDocument(id, { IsEnabled: '', Schedule: '' }), 'POST')
}

/** Returns the text of the first element with that name. */
export function element (xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
}

/** Returns status and error code of a response. */
export function errorOf ({ status, body }: ReceivedResponse): [number, string | undefined] {
  return [status, element(body, 'Code')]
}
