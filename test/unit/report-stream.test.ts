import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t from 'tap'
import type { Test } from 'tap'
import { Agent } from 'undici'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import { openExchange } from '../../src/cos/client/stream-exchange.ts'
import type { CosCall } from '../../src/cos/client/attempt.ts'
import type { CosResponse } from '../../src/cos/client/messages.ts'
import { confidentialIn } from '../../src/cos/client/signed-headers.ts'
import { createReportObjects } from '../../src/cos/report-objects.ts'
import { ServiceError } from '../../src/errors.ts'
import { UpstreamError } from '../../src/cos/upstream-error.ts'
import { chunksOf, partOf } from '../../src/emulator/content.ts'
import { sendPieces } from '../../src/http/long-response.ts'
import { createFiles } from '../../src/routes/report-stream.ts'
import { Secret } from '../../src/secret.ts'
import { readConfig } from '../../src/config/config.ts'
import { createBareApp } from '../bare-app.ts'

const credentialsOf = () => ({}) as never
const folder = '1250000000/examplebucket/daily'

async function open (
  t: Test, listener: RequestListener, { signal, limitMs = 60_000 }: { signal?: CancelSource, limitMs?: number } = {}
) {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = new Agent()
  t.teardown(async () => {
    await agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const request = { address: { origin, host: 'x' }, target: '/a', signal, success: { status: 200, maxBytes: 1 } }
  return await openExchange(agent, request as never, {}, limitMs)
}

t.test('openExchange returns a stream for a success, else the whole body', async t => {
  const success = await open(t, (_, response) => { response.end('abc') })
  t.equal(success.status, 200)
  t.equal((await success.stream?.toArray() ?? []).join(''), 'abc')
  const failure = await open(t, (_, response) => { response.writeHead(404).end('<Error/>') })
  t.strictSame([failure.status, failure.body.toString(), failure.stream], [404, '<Error/>', undefined])
})

t.test('openExchange is broken off by its time, its caller and a large error', async t => {
  await t.rejects(open(t, () => {}, { limitMs: 20 }), { cause: { code: 'TIMEOUT' }, hasResponse: false })
  const signal = new CancelSource()
  await t.rejects(open(t, () => { signal.cancel() }, { signal }), { cause: { code: 'CANCELLED' } })
  const large = open(t, (_, response) => { response.writeHead(500).end(Buffer.alloc(100_000)) })
  await t.rejects(large, { cause: { code: 'RESPONSE_TOO_LARGE' }, hasResponse: true })
})

t.test('openExchange is broken off at once while it waits for a connection', async t => {
  const signal = new CancelSource()
  const agent = new Agent({ connections: 1 })
  const server = createServer((_, response) => { response.write('a') }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    await agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const get = (limitMs: number) => openExchange(agent,
    { address: { origin, host: 'x' }, target: '/a', signal, success: { status: 200, maxBytes: 1 } } as never, {}, limitMs)
  const { stream } = await get(60_000)
  await t.rejects(get(20), { cause: { code: 'TIMEOUT' } })
  const waiting = get(60_000)
  signal.cancel()
  await t.rejects(waiting, { cause: { code: 'CANCELLED' } })
  stream?.on('error', () => {}).destroy()
})

t.test('a data file whose length is not that of the manifest is not read', async t => {
  const stream = new Readable({ read () {} })
  const objects = { open: async () => ({ value: { stream, status: 200, length: 2, headers: {} }, cos: {} }) }
  const files = createFiles({ call: {}, source: { folder } } as never,
    { objects: objects as never, deadlineMs: 1, steadyNow: () => 0 })
  await t.rejects(files.open({ key: 'a', size: 1, md5: undefined }), { code: 'ReportCorrupt' })
  t.ok(stream.destroyed)
})

t.test('an object without Last-Modified or Content-Length is no response of COS', async t => {
  const attempts = {
    async run (_: unknown, read: (response: object) => unknown) {
      return await read({ headers, body: Buffer.alloc(0), confidential: [] }) as never
    }
  }
  let headers = {}
  const { head } = createReportObjects(config, { attempts, streams: attempts, credentialsOf } as never)
  for (const each of [{ 'content-length': '1' }, { 'last-modified': new Date(0).toUTCString() }]) {
    headers = each
    await t.rejects(head(call, folder, 'a'), { code: 'UpstreamInvalidResponse' })
  }
})

t.test('a data file is closed if the client disconnected while it was opened', async t => {
  const stream = new Readable({ read () {} })
  const files = createFiles({ call: {}, source: { folder } } as never, {
    objects: {
      async open () {
        files.close()
        return { value: { stream, status: 200, headers: {} }, cos: {} }
      }
    } as never,
    deadlineMs: 1,
    steadyNow: () => 0
  })
  await files.open({ key: 'a', size: 1, md5: undefined })
  t.ok(stream.destroyed)
})

const config = readConfig({ AUTH: 'none', COS_SECRET_ID: 'a', COS_SECRET_KEY: 'b', COS_REGION: 'ap-guangzhou' }).cos
const call = { bucket: 'examplebucket-1250000000', region: 'ap-guangzhou' } as never
const days = { from: undefined, to: '20401231' }

t.test('a list of reports ends after twenty pages', async t => {
  let pages = 0
  const attempts = {
    async run () {
      pages += 1
      return { value: { objects: [], nextMarker: [`${folder}/20${pages + 10}0101/a`] }, cos: {} } as never
    }
  }
  const { list } = createReportObjects(config, { attempts, streams: attempts, credentialsOf })
  await t.rejects(list(call, folder, days), { code: 'ReportTooLarge' })
  t.equal(pages, 20)
})

/** Returns the reads of reports whose pages of objects have these markers. */
function listWith (nextMarkers: string[]) {
  const targets: string[] = []
  const attempts = {
    async run ({ target }: CosCall) {
      targets.push(target)
      const marker = nextMarkers[targets.length - 1]
      return { value: { objects: [], nextMarker: marker && [marker] }, cos: {} } as never
    }
  }
  return { targets, list: createReportObjects(config, { attempts, streams: attempts, credentialsOf }).list }
}

t.test('a list of reports ends behind the last day', async t => {
  const { targets, list } = listWith([`${folder}/20261119/manifest.json`, `${folder}/20aa.csv.gz`, `${folder}/20ab.csv.gz`])
  await list(call, folder, days)
  t.equal(targets.length, 2)
})

t.test('a marker outside of the folder, or one that does not advance, is not followed', async t => {
  for (const markers of [['elsewhere/20'], [`${folder}/20261119/a`, `${folder}/20261119/a`]]) {
    await t.rejects(listWith(markers).list(call, folder, days), { code: 'UpstreamInvalidResponse' }, markers.join())
  }
})

t.test('a plus in a key or marker is the character that the folder has there', async t => {
  const encoded = 'a%2Bb+c%2F1%2Fc%2Fd%2F20261119%2F'
  const item = `<Contents><Key>${encoded}manifest.json</Key>` +
    '<LastModified>2026-11-20T02:41:07.000Z</LastModified><Size>1</Size></Contents>'
  const pages = [
    `<ListBucketResult>${item}<IsTruncated>true</IsTruncated><NextMarker>${encoded}x</NextMarker></ListBucketResult>`,
    '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
  ]
  const targets: string[] = []
  const attempts = {
    async run ({ target }: CosCall, read: (response: CosResponse) => unknown) {
      targets.push(target)
      const body = Buffer.from(pages.shift() as string)
      return await read({ status: 200, headers: {}, body, confidential: [] }) as never
    }
  }
  const { value } = await createReportObjects(config, { attempts, streams: attempts, credentialsOf }).list(call, 'a+b c/1/c/d', days)
  t.match(value, [{ date: '20261119', hasChecksum: false }])
  t.match(targets[1], /marker=a%2Bb%20c%2F1%2Fc%2Fd%2F20261119%2Fx&/)
})

t.test('a redirect is an object that does not exist, also without ids of COS', async t => {
  const attempts = {
    async run () { throw new UpstreamError('UpstreamInvalidResponse', 'a redirect', { class: 'invalid', cosStatus: 302 }) }
  }
  const { head } = createReportObjects(config, { attempts, streams: attempts, credentialsOf })
  t.strictSame(await head(call, folder, 'a'), { value: undefined, cos: {} })
})

t.test('a response that takes longer than its limit is broken', async t => {
  const app = await createBareApp(t)
  async function * endless (): AsyncGenerator<string> {
    yield 'a'
    await new Promise(() => {})
  }
  const source = new Readable({ read () {} })
  app.get('/', async (request, reply) =>
    await sendPieces(request, reply, endless(), { onBegin () {}, close: () => { source.destroy() }, limitMs: 50 }))
  const response = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }))
  await t.rejects(response.text())
  if (!source.closed) await once(source, 'close')
})

t.test('the head is sent although no row is wanted yet', async t => {
  const app = await createBareApp(t)
  let isReturned = false
  let goOn = () => {}
  async function * pieces (): AsyncGenerator<string> {
    try {
      yield ''
      await new Promise<void>(resolve => { goOn = resolve })
      yield 'a'
    } finally {
      isReturned = true
    }
  }
  app.get('/', async (request, reply) =>
    await sendPieces(request, reply, pieces(), { onBegin: () => { reply.header('x-a', 'b') }, close () {} }))
  const response = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }))
  t.equal(response.headers.get('x-a'), 'b')
  goOn()
  t.equal(await response.text(), 'a')
  t.ok(isReturned)
})

t.test('an error before the first piece has no header of the response', async t => {
  const app = await createBareApp(t)
  async function * failing (): AsyncGenerator<string> {
    throw new ServiceError('ReportCorrupt', 'The report cannot be used.')
  }
  app.get('/', async (request, reply) =>
    await sendPieces(request, reply, failing(), { onBegin: () => { reply.header('x-a', 'b') }, close () {} }))
  const response = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }))
  t.strictSame([response.status, response.headers.get('x-a')], [502, null])
})

t.test('a client that disconnects before the first piece causes no error of COS', async t => {
  const app = await createBareApp(t)
  let fail = () => {}
  async function * waiting (): AsyncGenerator<string> {
    await new Promise((_resolve, reject) => {
      fail = () => { reject(new ServiceError('UpstreamUnreachable', 'COS closed the connection.')) }
      client.abort()
    })
  }
  const client = new AbortController()
  const failed = new Promise(resolve => {
    app.get('/', async (request, reply) => await sendPieces(request, reply, waiting(), { onBegin () {}, close: () => { fail() } })
      .catch((error: unknown) => {
        resolve(error)
        throw error
      }))
  })
  await t.rejects(fetch(await app.listen({ host: '127.0.0.1', port: 0 }), { signal: client.signal }))
  t.match(await failed, { code: 'CallerLeft', status: 499 })
})

t.test('the secrets of a request without a token are its key id and signature', async t => {
  const credentials = { secretId: 'AKIDtestTESTtestTESTtestTESTtest0000', secretKey: new Secret('a'), token: undefined }
  const signature = 'f'.repeat(40)
  t.strictSame(confidentialIn({ authorization: `q-signature=${signature}` }, { credentials } as never),
    [credentials.secretId, signature])
})

t.test('a part of generated bytes ends with its last byte', async t => {
  let made = 0
  const content = {
    size: 6,
    * read () {
      for (const text of ['ab', 'cd', 'ef']) {
        made += 1
        yield Buffer.from(text)
      }
    }
  }
  const chunks: string[] = []
  for await (const chunk of chunksOf(partOf(content, 1, 3))) chunks.push(chunk.toString())
  t.strictSame(chunks, ['b', 'c'])
  t.equal(made, 2, 'the rest is not made')
})
