import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { connect as connectPlainly } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { ConnectionRegistry } from '../../src/http/connections/connection-registry.ts'
import { replyToClientError } from '../../src/http/connections/protocol-errors.ts'
import { createHttpServer } from '../../src/http/connections/server.ts'
import { closeFailedHandshakes, readTls } from '../../src/http/connections/tls.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { createAuthority } from '../certificates.ts'
import type { Certified } from '../certificates.ts'
import { connectionsOf } from '../raw-connection.ts'
import { bucket, start, until } from '../start.ts'

interface Test {
  testdir (entries: Record<string, string>): string
  teardown (handler: () => unknown): void
}

const authority = await createAuthority()
const stranger = await createAuthority('Another CA')
const collection = `/buckets/${bucket}/inventories`

/** Writes server files to a folder and returns the variables that name them. */
function tlsFiles (t: Test, { cert, key }: Certified, clientCa?: string) {
  const dir = t.testdir({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': clientCa ?? '' })
  return {
    dir,
    environment: {
      TLS_CERT_FILE: `${dir}/tls.crt`,
      TLS_KEY_FILE: `${dir}/tls.key`,
      ...(clientCa === undefined ? {} : { TLS_CLIENT_CA_FILE: `${dir}/ca.crt` })
    }
  }
}

/** Sends a request over its own connection and returns the status or the error code. */
async function get (
  url: string, path: string, client: Partial<Certified> = {}, headers: Record<string, string> = {}
): Promise<{ status: number | string, serial?: string, hsts?: unknown }> {
  const asked = request(`${url}${path}`, { ca: authority.cert, servername: 'localhost', agent: false, headers, ...client }).end()
  try {
    const [response] = await once(asked, 'response') as [IncomingMessage]
    const serial = (response.socket as TLSSocket).getPeerX509Certificate()?.serialNumber ?? ''
    await text(response)
    return { status: response.statusCode ?? 0, serial, hsts: response.headers['strict-transport-security'] }
  } catch (error) {
    return { status: String((error as NodeJS.ErrnoException).code) }
  }
}

t.test('GET returns 200 with HSTS over TLS; plain HTTP and TLS 1.1 are rejected', async t => {
  const { environment } = tlsFiles(t, await authority.issue('localhost'))
  const { url, logs } = await start(t, { environment })
  t.match(url, /^https:/)
  t.match(await get(url, collection), { status: 200, hsts: 'max-age=31536000' })
  const plain = connectPlainly(Number(new URL(url).port), '127.0.0.1')
  plain.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(plain.resume(), 'close')
  t.match(logs(), /"code":"ERR_SSL_[A-Z_]+","address":"127.0.0.1","msg":"TLS handshake failed"/)
  await t.rejects(once(connect({ port: Number(new URL(url).port), maxVersion: 'TLSv1.1', minVersion: 'TLSv1', rejectUnauthorized: false }), 'secureConnect'))
})

t.test('the handshake fails when the client certificate is missing or invalid', async t => {
  const files = tlsFiles(t, await authority.issue('localhost'), authority.cert)
  const callers = callersFile(t, [
    { name: 'by-san', certificate: { san: 'spiffe://corp/billing' }, allow: everything },
    { name: 'by-subject', certificate: { subject: 'CN=reporting' }, allow: everything },
    withKey('by-key', everything)
  ])
  const { url, logs, emulator } = await start(t, { environment: { ...files.environment, ...callers.environment } })
  const [bySan, bySubject, unknown] = [
    await authority.issue('x', { san: 'spiffe://corp/billing' }), await authority.issue('reporting'), await authority.issue('else')
  ]
  t.equal((await get(url, collection, bySan)).status, 200)
  t.equal((await get(url, collection, bySubject)).status, 200)
  // A TLS client may have its response before the service logs the request.
  for (const name of ['by-san', 'by-subject']) await until(() => logs().includes(`"caller":"${name}"`))
  t.equal((await get(url, collection, unknown)).status, 401, 'a valid certificate of no caller is not enough')
  t.match(logs(), /"subject":"CN=else","subjectAltName":"DNS:else","msg":"client certificate belongs to no caller"/)
  t.equal((await get(url, collection, unknown, as('by-key'))).status, 200, 'a key is enough')
  t.equal((await get(url, collection, bySan, { authorization: 'Bearer wrong' })).status, 401, 'a wrong key is rejected despite the certificate')

  const before = emulator.requests.length
  for (const [client, why] of [
    [{}, 'no certificate'], [await stranger.issue('reporting'), 'another CA'], [await authority.issue('reporting', { expired: true }), 'expired']
  ] as const) {
    t.match((await get(url, '/livez', client, as('by-key'))).status, /^E/, why)
  }
  t.equal(emulator.requests.length, before)
})

t.test('TLS files are reloaded when they change, and invalid ones are ignored', async t => {
  const first = await authority.issue('localhost')
  const { dir, environment } = tlsFiles(t, first, authority.cert)
  const { url, service, logs } = await start(t, { environment })
  const [client, foreign] = [await authority.issue('reporting'), await stranger.issue('reporting')]
  t.equal((await get(url, '/livez', client)).serial, serialOf(first))

  const second = await authority.issue('localhost')
  writeFileSync(`${dir}/tls.crt`, second.cert)
  await service.reload()
  t.match(logs(), /"what":"TLS_\*","cause":"[^"]*TLS_CERT_FILE and TLS_KEY_FILE do not match","msg":"reload failed/)
  t.equal((await get(url, '/livez', client)).serial, serialOf(first))
  writeFileSync(`${dir}/tls.key`, second.key)
  await service.reload()
  t.equal((await get(url, '/livez', client)).serial, serialOf(second))

  writeFileSync(`${dir}/ca.crt`, 'not a certificate')
  await service.reload()
  t.equal((await get(url, '/livez', client)).status, 200)
  writeFileSync(`${dir}/ca.crt`, stranger.cert)
  await service.reload()
  t.match((await get(url, '/livez', client)).status, /^E/)
  t.equal((await get(url, '/livez', foreign)).status, 200)

  const third = await authority.issue('localhost')
  for (const [name, content] of [['tls.crt', third.cert], ['tls.key', third.key]] as const) {
    writeFileSync(`${dir}/new`, content)
    renameSync(`${dir}/new`, `${dir}/${name}`)
  }
  // The service checks the files every second, so no reload is requested.
  while ((await get(url, '/livez', foreign)).serial !== serialOf(third)) await new Promise(resolve => { setImmediate(resolve) })
  t.pass('the service noticed the change')
})

t.test('the start fails when a TLS file is invalid or unreadable', async t => {
  const valid = await authority.issue('localhost')
  const other = await authority.issue('localhost')
  for (const [files, ca, cause] of [
    [{ cert: valid.cert, key: other.key }, undefined, /TLS_CERT_FILE and TLS_KEY_FILE do not match/],
    [{ cert: 'x', key: valid.key }, undefined, /TLS_CERT_FILE must contain unencrypted PEM/],
    [{ cert: valid.cert, key: 'x' }, undefined, /TLS_KEY_FILE must contain unencrypted PEM/],
    [valid, 'not a certificate', /TLS_CLIENT_CA_FILE must contain/],
    [valid, '', /TLS_CLIENT_CA_FILE must contain/],
    [valid, `${authority.cert}\n${stranger.cert.slice(0, 300)}`, /TLS_CLIENT_CA_FILE must contain/]
  ] as const) {
    await t.rejects(start(t, { environment: tlsFiles(t, files, ca).environment }), { message: cause })
  }
  await t.rejects(start(t, { environment: { TLS_CERT_FILE: '/nowhere', TLS_KEY_FILE: '/nowhere' } }), { message: /TLS_CERT_FILE cannot be read: ENOENT/ })
})

t.test('an open connection closes after its response when the client CA changes', async t => {
  const { dir, environment } = tlsFiles(t, await authority.issue('localhost'), authority.cert)
  const { url, service, emulator } = await start(t, { environment })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: authority.cert, servername: 'localhost', ...await authority.issue('reporting') })
  t.teardown(() => { agent.destroy() })
  const ask = async () => {
    const [response] = await once(request(`${url}${collection}`, { agent }).end(), 'response') as [IncomingMessage]
    await text(response)
    return [response.statusCode, response.headers.connection]
  }
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const waiting = ask()
  while (emulator.connections === 0) await new Promise(resolve => { setImmediate(resolve) })
  writeFileSync(`${dir}/ca.crt`, stranger.cert)
  await service.reload()
  t.strictSame(await waiting, [200, 'close'])
  await t.rejects(ask())
})

t.test('a handshake in progress is aborted when the client CA changes', async t => {
  const { dir, environment } = tlsFiles(t, await authority.issue('localhost'), authority.cert)
  const { url, service } = await start(t, { environment })
  const early = connectPlainly(Number(new URL(url).port), '127.0.0.1')
  await once(service.app.server, 'connection')
  writeFileSync(`${dir}/ca.crt`, `# the new one\n${stranger.cert}`)
  await service.reload()
  await once(early.resume(), 'close')
  t.equal((await get(url, '/livez', await stranger.issue('reporting'))).status, 200)
})

t.test('a connection is closed when its handshake fails or takes too long', async t => {
  const { environment } = tlsFiles(t, await authority.issue('localhost'))
  const { url, service: { app: { server, log } } } = await start(t, { environment })
  const count = 20
  for (const index of Array(count).keys()) {
    const socket = connectPlainly({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    // The bytes are half a handshake or no TLS. Half of the clients stay connected.
    const bytes = index % 4 < 2 ? Buffer.from('1603010200010001fc0303', 'hex') : Buffer.from('nonsense\r\n\r\n')
    socket.on('error', () => {}).resume().write(bytes)
    await once(server, 'connection')
    if (index % 2 === 0) socket.destroy()
  }
  // The handshakes that remain have ten seconds.
  await until(async () => await connectionsOf(server) === count / 4)

  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile } = environment
  const options = readTls({ certFile, keyFile, clientCaFile: undefined })
  t.equal(options.handshakeTimeout, 10_000)
  const connections = new ConnectionRegistry({ onClosed: () => {} })
  const impatient = createHttpServer({ ...options, handshakeTimeout: 50 }, connections, () => {})
  impatient.on('clientError', (error, socket) => { replyToClientError(log, connections, error, socket as Socket) })
  closeFailedHandshakes({ server: impatient, log })
  impatient.listen(0, '127.0.0.1')
  t.teardown(() => impatient.close())
  await once(impatient, 'listening')
  const idle = connectPlainly({ port: (impatient.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => idle.destroy())
  await once(impatient, 'connection')
  await until(async () => await connectionsOf(impatient) === 0)
  t.pass('no connection is open')
})

t.test('shutdown does not wait when a client sends no request after the handshake', async t => {
  const { environment } = tlsFiles(t, await authority.issue('localhost'))
  const { url, service } = await start(t, { environment })
  const idle = connect({ port: Number(new URL(url).port), rejectUnauthorized: false })
  await once(idle, 'secureConnect')
  const startedAt = Date.now()
  t.equal(await service.stop(), true)
  t.ok(Date.now() - startedAt < 5_000)
})

t.test('a certificate names no caller when it expires on an open connection', async t => {
  const { certificateOf } = await import('../../src/http/access/authentication.ts')
  const { cert } = await authority.issue('reporting')
  const certificate = new X509Certificate(cert)
  const socket = { authorized: true, getPeerX509Certificate: () => certificate }
  const { validTo } = certificate
  t.match(certificateOf(socket, Date.parse(validTo) - 1), { subject: 'CN=reporting' })
  t.equal(certificateOf(socket, Date.parse(validTo)), undefined)
  t.equal(certificateOf({ authorized: false }, 0), undefined)
  t.equal(certificateOf({}, 0), undefined, 'a plain socket')
})

function serialOf ({ cert }: Certified): string {
  return new X509Certificate(cert).serialNumber
}
