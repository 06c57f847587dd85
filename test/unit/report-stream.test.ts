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
import { confidentialIn } from '../../src/cos/client/signed-headers.ts'
import { createReportObjects } from '../../src/cos/report-objects.ts'
import { UpstreamError } from '../../src/cos/upstream-error.ts'
import { chunksOf, partOf } from '../../src/emulator/content.ts'
import { sendPieces } from '../../src/http/report-stream.ts'
import { createFiles } from '../../src/routes/report-stream.ts'
import { Secret } from '../../src/secret.ts'
import { readConfig } from '../../src/config/config.ts'
import { createBareApp } from '../bare-app.ts'

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

t.test('a list of reports ends after twenty pages', async t => {
  let pages = 0
  const attempts = {
    async run () {
      pages += 1
      return { value: { objects: [], nextMarker: `${folder}/20${pages}` }, cos: {} } as never
    }
  }
  const { list } = createReportObjects(config, { attempts, streams: attempts })
  await t.rejects(list(call, folder, undefined), { code: 'ReportTooLarge' })
  t.equal(pages, 20)
})

t.test('a marker with a plus for a blank goes on in the folder', async t => {
  const targets: string[] = []
  const attempts = {
    async run ({ target }: CosCall) {
      targets.push(target)
      const nextMarker = targets.length === 1 ? 'a+b/1/c/d/20261120' : undefined
      return { value: { objects: [], nextMarker }, cos: {} } as never
    }
  }
  await createReportObjects(config, { attempts, streams: attempts }).list(call, 'a b/1/c/d', undefined)
  t.match(targets[1], /marker=a%20b%2F1%2Fc%2Fd%2F20261120&/)
})

t.test('a redirect is an object that does not exist, also without ids of COS', async t => {
  const attempts = {
    async run () { throw new UpstreamError('UpstreamInvalidResponse', 'a redirect', { class: 'invalid', cosStatus: 302 }) }
  }
  const { head } = createReportObjects(config, { attempts, streams: attempts })
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
    await sendPieces(request, reply, endless(), { close: () => { source.destroy() }, limitMs: 50 }))
  const response = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }))
  await t.rejects(response.text())
  if (!source.closed) await once(source, 'close')
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
