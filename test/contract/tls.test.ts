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

/** Server files in a folder of their own, and the environment that names them. */
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

/** One request over a connection of its own; gives the status, or the code of what went wrong. */
async function get (
  url: string, path: string, client: Partial<Certified> = {}, headers: Record<string, string> = {}
): Promise<{ status: number | string, serial?: string, hsts?: unknown }> {
  const asked = request(`${url}${path}`, { ca: authority.cert, servername: 'localhost', agent: false, headers, ...client }).end()
  try {
    const [answer] = await once(asked, 'response') as [IncomingMessage]
    const serial = (answer.socket as TLSSocket).getPeerX509Certificate()?.serialNumber ?? ''
    await text(answer)
    return { status: answer.statusCode ?? 0, serial, hsts: answer.headers['strict-transport-security'] }
  } catch (error) {
    return { status: String((error as NodeJS.ErrnoException).code) }
  }
}

t.test('it speaks TLS with a certificate and a key, and then says so', async t => {
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

t.test('a client without a certificate, with one of another CA or with an expired one cannot speak', async t => {
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
  // Through TLS a client may have its answer before the service knows that it was sent.
  for (const name of ['by-san', 'by-subject']) await until(() => logs().includes(`"caller":"${name}"`))
  t.equal((await get(url, collection, unknown)).status, 401, 'a good certificate of nobody is not enough')
  t.match(logs(), /"subject":"CN=else","subjectAltName":"DNS:else","msg":"client certificate belongs to no caller"/)
  t.equal((await get(url, collection, unknown, as('by-key'))).status, 200, 'a key is')
  t.equal((await get(url, collection, bySan, { authorization: 'Bearer wrong' })).status, 401, 'a wrong key is judged by itself')

  const before = emulator.requests.length
  for (const [client, why] of [
    [{}, 'none'], [await stranger.issue('reporting'), 'another CA'], [await authority.issue('reporting', { expired: true }), 'expired']
  ] as const) {
    t.match((await get(url, '/livez', client, as('by-key'))).status, /^E/, why)
  }
  t.equal(emulator.requests.length, before)
})

t.test('renewed files need no restart, and faulty ones change nothing', async t => {
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
  // Nobody asks for it now: the files are looked at every second.
  while ((await get(url, '/livez', foreign)).serial !== serialOf(third)) await new Promise(resolve => { setImmediate(resolve) })
  t.pass('noticed by itself')
})

t.test('files that are not what they must be stop the start', async t => {
  const good = await authority.issue('localhost')
  const other = await authority.issue('localhost')
  for (const [files, ca, fault] of [
    [{ cert: good.cert, key: other.key }, undefined, /TLS_CERT_FILE and TLS_KEY_FILE do not match/],
    [{ cert: 'x', key: good.key }, undefined, /TLS_CERT_FILE must contain unencrypted PEM/],
    [{ cert: good.cert, key: 'x' }, undefined, /TLS_KEY_FILE must contain unencrypted PEM/],
    [good, 'not a certificate', /TLS_CLIENT_CA_FILE must contain/],
    [good, '', /TLS_CLIENT_CA_FILE must contain/],
    [good, `${authority.cert}\n${stranger.cert.slice(0, 300)}`, /TLS_CLIENT_CA_FILE must contain/]
  ] as const) {
    await t.rejects(start(t, { environment: tlsFiles(t, files, ca).environment }), { message: fault })
  }
  await t.rejects(start(t, { environment: { TLS_CERT_FILE: '/nowhere', TLS_KEY_FILE: '/nowhere' } }), { message: /TLS_CERT_FILE cannot be read: ENOENT/ })
})

t.test('when the authorities change, open connections end with the answer they wait for', async t => {
  const { dir, environment } = tlsFiles(t, await authority.issue('localhost'), authority.cert)
  const { url, service, emulator } = await start(t, { environment })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: authority.cert, servername: 'localhost', ...await authority.issue('reporting') })
  t.teardown(() => { agent.destroy() })
  const ask = async () => {
    const [answer] = await once(request(`${url}${collection}`, { agent }).end(), 'response') as [IncomingMessage]
    await text(answer)
    return [answer.statusCode, answer.headers.connection]
  }
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const waiting = ask()
  while (emulator.connections === 0) await new Promise(resolve => { setImmediate(resolve) })
  writeFileSync(`${dir}/ca.crt`, stranger.cert)
  await service.reload()
  t.strictSame(await waiting, [200, 'close'])
  await t.rejects(ask())
})

t.test('a handshake that began under other authorities is cut off', async t => {
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
    // A record of the handshake of which the rest never comes, or no TLS at all. Half of the clients stay.
    const bytes = index % 4 < 2 ? Buffer.from('1603010200010001fc0303', 'hex') : Buffer.from('nonsense\r\n\r\n')
    socket.on('error', () => {}).resume().write(bytes)
    await once(server, 'connection')
    if (index % 2 === 0) socket.destroy()
  }
  // The others have ten seconds.
  await until(async () => await connectionsOf(server) === count / 4)

  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile } = environment
  const options = readTls({ certFile, keyFile, clientCaFile: undefined })
  t.equal(options.handshakeTimeout, 10_000)
  const connections = new ConnectionRegistry({ onClosed: () => {} })
  const hasty = createHttpServer({ ...options, handshakeTimeout: 50 }, connections, () => {})
  hasty.on('clientError', (error, socket) => { replyToClientError(log, connections, error, socket as Socket) })
  closeFailedHandshakes({ server: hasty, log })
  hasty.listen(0, '127.0.0.1')
  t.teardown(() => hasty.close())
  await once(hasty, 'listening')
  const silent = connectPlainly({ port: (hasty.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => silent.destroy())
  await once(hasty, 'connection')
  await until(async () => await connectionsOf(hasty) === 0)
  t.pass('no descriptor is left')
})

t.test('a client that has shaken hands and says nothing does not hold up a stop', async t => {
  const { environment } = tlsFiles(t, await authority.issue('localhost'))
  const { url, service } = await start(t, { environment })
  const silent = connect({ port: Number(new URL(url).port), rejectUnauthorized: false })
  await once(silent, 'secureConnect')
  const startedAt = Date.now()
  t.equal(await service.stop(), true)
  t.ok(Date.now() - startedAt < 5_000)
})

t.test('a certificate that expires while its connection stays open no longer names a caller', async t => {
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
