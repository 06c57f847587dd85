/**
 * Measures the heap use of operations of the built service and prints it as one line of JSON. The test cost.test.ts
 * starts this file with its V8 flags and environment.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { getHeapStatistics, GCProfiler } from 'node:v8'
import { pino } from 'pino'
import { bucket, changingBucket, configuration, configurationXml, ids, pageSize } from '../bench/documents.ts'
import { as } from '../callers-file.ts'
import { builtPackage } from './program.ts'
import { outputsTo } from '../outputs.ts'

/** Warm-up batches create one-time objects: compiled functions, hidden classes, pools, a connection. */
const warmUps = 2
const batches = 3

/**
 * Returns the bytes of JavaScript heap per operation, garbage included. The minimum of several batches excludes other
 * activity such as timers. A batch must allocate more than 100 KB and less than the young generation.
 */
async function costOf (operation: () => unknown, times: number): Promise<number> {
  const costs: number[] = []
  for (let batch = 0; batch < warmUps + batches; batch++) {
    const cost = await costOfBatch(operation, times)
    if (batch >= warmUps && cost !== undefined) costs.push(cost)
  }
  if (costs.length === 0) throw new Error('the garbage collector ran in every batch: they are too large')
  return Math.round(Math.min(...costs))
}

/** Returns undefined when the garbage collector ran: the collected bytes cannot be counted. */
async function costOfBatch (operation: () => unknown, times: number): Promise<number | undefined> {
  globalThis.gc?.()
  const collections = new GCProfiler()
  collections.start()
  const before = getHeapStatistics().used_heap_size
  for (let time = 0; time < times; time++) {
    const result = operation()
    if (result instanceof Promise) await result
  }
  const after = getHeapStatistics().used_heap_size
  return collections.stop().statistics.length > 0 ? undefined : (after - before) / times
}

async function costsOfParts () {
  const { authorization, keyTimeAt, signKeyOf } =
    await built('cos/client/signature') as typeof import('../../src/cos/client/signature.ts')
  const { fromConfigurationXml, fromListXml, toConfigurationXml } =
    await built('cos/xml/inventory-xml') as typeof import('../../src/cos/xml/inventory-xml.ts')
  const { etagOf } = await built('changes/version') as typeof import('../../src/changes/version.ts')
  const [id = ''] = ids
  const keys = { secretId: 'AKIDtest', secretKey: 'kKeEyY' }
  const keyTime = keyTimeAt(1_700_000_000_000)
  const signKey = signKeyOf(keys.secretKey, keyTime)
  const request = {
    method: 'GET',
    path: '/',
    parameters: { inventory: '', id },
    headers: { host: `${bucket}.cos.ap-guangzhou.myqcloud.com`, 'x-cos-security-token': 'tToOkKeEnN+/'.repeat(16) }
  }
  const document = configurationXml(id)
  const page = ('<ListInventoryConfigurationResult>' + ids.slice(0, pageSize).map(configurationXml).join('') +
    '<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>')
  const read = fromConfigurationXml(document)
  return {
    authorization: await costOf(() => authorization(request, keys, keyTime, signKey), 1_000),
    fromConfigurationXml: await costOf(() => fromConfigurationXml(document), 100),
    fromListXml: await costOf(() => fromListXml(page), 1),
    toConfigurationXml: await costOf(() => toConfigurationXml(id, configuration), 200),
    etagOf: await costOf(() => etagOf(read), 200)
  }
}

/** Sends whole requests, one after another on one connection, to the service that the environment describes. */
async function costsOfRequests () {
  const { readConfig } = await built('config/config') as typeof import('../../src/config/config.ts')
  const { startService } = await built('service') as typeof import('../../src/service.ts')
  const nowhere = { write () {} }
  const { url } = await startService(readConfig(process.env), pino({ level: 'info' }, nowhere), outputsTo(nowhere.write))
  const send = await connectTo(url)
  const pathIn = (bucket: string) => `/buckets/${bucket}/inventories/${ids[0]}`
  return {
    GET: await costOf(() => send('GET', pathIn(bucket), ''), 50),
    'GET changed': await costOf(() => send('GET', pathIn(changingBucket), ''), 50),
    PUT: await costOf(() => send('PUT', pathIn(bucket), JSON.stringify(configuration)), 50)
  }
}

/** Creates a client with few allocations, because the measurement includes them. Any error ends the process. */
async function connectTo (url: string): Promise<(method: string, path: string, body: string) => Promise<void>> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname).setEncoding('latin1')
  await once(socket, 'connect')
  let received = ''
  let onResponse = () => {}
  socket.on('data', (text: unknown) => {
    received += String(text)
    const headLength = received.indexOf('\r\n\r\n') + 4
    if (headLength < 4) return
    if (!received.startsWith('HTTP/1.1 20')) throw new Error(received)
    // A 204 response has no Content-Length.
    const [, length = 0] = /\r\ncontent-length: (\d+)\r\n/.exec(received) ?? []
    if (received.length < headLength + Number(length)) return
    received = ''
    onResponse()
  })
  socket.once('close', () => { throw new Error('the service has closed the connection') })
  const { authorization } = as('archive')
  return async (method, path, body) => {
    const content = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\n${content}\r\n${body}`)
    await new Promise<void>(resolve => { onResponse = resolve })
  }
}

async function built (module: string): Promise<unknown> {
  return await import(new URL(`dist/${module}.js`, builtPackage).href)
}

console.log(JSON.stringify({ ...await costsOfParts(), ...await costsOfRequests() }))
process.exit()
