import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { chromium } from 'playwright-core'
import type { Browser, Locator, Page } from 'playwright-core'
import t from 'tap'
import { at, bucket, configuration, start } from '../start.ts'

interface Test {
  teardown (handler: () => unknown): void
}
/** A page and everything that went wrong in it or left it. */
interface Watched {
  page: Page
  /** What the console, uncaught errors and the content security policy say. */
  complaints: string[]
  /** Hosts the page asked for anything. */
  hosts: Set<string>
}

const browser = await chromium.launch({
  executablePath: findChromium(),
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'
  ]
})
t.teardown(() => browser.close())

t.test('in Swagger UI a configuration is created by Try it out, and no other host is asked for anything', async t => {
  const { emulator, url } = await start(t)
  const { page, complaints, hosts } = await openDocs(t, browser, `${url}/docs`)
  t.equal(page.url(), `${url}/docs/`)
  t.match(await page.locator('.info').innerText(), /^cos-inventory-proxy/)

  const answered = await tryPut(page, 'by-browser', { ...configuration, IsEnabled: false })
  t.equal(answered.status, '204')
  t.match(answered.url, `${url}${at('by-browser')}`)
  t.match(emulator.configurations(bucket), [/<Id>by-browser<\/Id>.*<IsEnabled>false<\/IsEnabled>/s])

  t.strictSame(complaints, [])
  t.strictSame([...hosts], [new URL(url).host])
})

t.test('the body Swagger UI offers is the example, and works as it stands', async t => {
  const { emulator, url } = await start(t)
  const { page, complaints } = await openDocs(t, browser, `${url}/docs/#/inventories/putInventory`)
  const put = page.locator('#operations-inventories-putInventory')
  await put.getByRole('button', { name: 'Try it out' }).click()
  const offered = JSON.parse(await put.locator('textarea.body-param__text').inputValue()) as { Id: string }
  t.match(offered, { Id: 'daily-report', IsEnabled: true })
  t.equal(await put.locator('tr[data-param-name=bucket] input').inputValue(), bucket)
  t.equal(await put.locator('tr[data-param-name=id] input').inputValue(), 'daily-report')
  t.equal((await execute(put)).status, '204')
  t.equal(emulator.configurations(bucket).length, 1)
  t.strictSame(complaints, [])
})

t.test('a refused body is shown as the problem document it is', async t => {
  const { emulator, url } = await start(t)
  const { page } = await openDocs(t, browser, `${url}/docs/`)
  const answered = await tryPut(page, 'refused', { ...configuration, Schedule: { Frequency: 'Hourly' } })
  t.equal(answered.status, '400')
  t.match(answered.body, /"code": "ValidationFailed"[^]*"pointer": "\/Schedule\/Frequency"/)
  t.strictSame(emulator.requests, [])
})

t.test('behind a path prefix Swagger UI works the same', async t => {
  const { emulator, url } = await start(t)
  const proxy = await startPrefixProxy(t, '/cos', url)
  const { page, complaints, hosts } = await openDocs(t, browser, `${proxy}/cos/docs`)
  t.equal(page.url(), `${proxy}/cos/docs/`)

  const answered = await tryPut(page, 'behind-prefix', configuration)
  t.equal(answered.status, '204')
  t.match(answered.url, `${proxy}/cos${at('behind-prefix')}`)
  t.match(emulator.configurations(bucket), [/<Id>behind-prefix<\/Id>/])

  t.strictSame(complaints, [])
  t.strictSame([...hosts], [new URL(proxy).host])
})

/** Opens Swagger UI in a browser profile of its own and waits until it has read the document. */
async function openDocs (t: Test, browser: Browser, url: string): Promise<Watched> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  const hosts = new Set<string>()
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', error => { complaints.push(String(error)) })
  page.on('request', request => {
    const { protocol, host } = new URL(request.url())
    if (protocol !== 'data:' && protocol !== 'blob:') hosts.add(host)
  })
  page.on('websocket', socket => { hosts.add(socket.url()) })
  await page.addInitScript(`addEventListener('securitypolicyviolation', violation => {
    console.error('policy violated', violation.violatedDirective, violation.blockedURI)
  })`)
  await page.goto(url)
  await page.locator('#operations-inventories-putInventory').waitFor()
  return { page, complaints, hosts }
}

/** Sends a PUT as a reader of the page would. */
async function tryPut (page: Page, id: string, body: object): Promise<{ status: string, url: string, body: string }> {
  const put = page.locator('#operations-inventories-putInventory')
  await put.locator('.opblock-summary-control').click()
  await put.getByRole('button', { name: 'Try it out' }).click()
  await put.locator('tr[data-param-name=bucket] input').fill(bucket)
  await put.locator('tr[data-param-name=id] input').fill(id)
  await put.locator('textarea.body-param__text').fill(JSON.stringify(body))
  return await execute(put)
}

async function execute (operation: Locator): Promise<{ status: string, url: string, body: string }> {
  await operation.getByRole('button', { name: 'Execute' }).click()
  const live = operation.locator('.live-responses-table')
  await live.waitFor()
  return {
    status: (await live.locator('.response-col_status').last().innerText()).split('\n')[0]?.trim() ?? '',
    url: await operation.locator('.request-url pre').innerText(),
    body: await live.locator('.response-col_description').last().innerText()
  }
}

/** A reverse proxy that takes a prefix off the path and says so, as gateways do. */
async function startPrefixProxy (t: Test, prefix: string, to: string): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { method, url = '', headers } = incoming
    if (!url.startsWith(`${prefix}/`)) {
      outgoing.writeHead(404).end()
      return
    }
    const onward = httpRequest(`${to}${url.slice(prefix.length)}`, {
      method, headers: { ...headers, 'x-forwarded-prefix': prefix }
    })
    onward.on('response', answer => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      pipeline(answer, outgoing, () => {})
    })
    pipeline(incoming, onward, () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The names are those test/install-chromium.sh looks up. */
function findChromium (): string {
  const names = [process.env['CHROMIUM_PATH'], 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  for (const name of names) {
    if (name === undefined || name === '') continue
    try {
      return execFileSync('sh', ['-c', 'command -v "$1"', 'sh', name], { encoding: 'utf8' }).trim()
    } catch {}
  }
  throw new Error('There is no Chromium: install it, run test/install-chromium.sh, or set CHROMIUM_PATH.')
}
