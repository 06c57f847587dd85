import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { chromium } from 'playwright-core'
import type { Browser, Locator, Page } from 'playwright-core'
import t from 'tap'
import { callersFile, everything, keyOf, withKey } from '../callers-file.ts'
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

t.test('PATCH comes with a merge patch to edit and send', async t => {
  const { call, emulator, url } = await start(t)
  const { headers } = await call('PUT', at('patched'), configuration)
  const { page, complaints } = await openDocs(t, browser, `${url}/docs/`)
  const patch = page.locator('#operations-inventories-patchInventory')
  await patch.locator('.opblock-summary-control').click()
  await patch.getByRole('button', { name: 'Try it out' }).click()
  t.equal(await patch.locator('.opblock-section-request-body select').inputValue(), 'application/merge-patch+json')
  t.strictSame(JSON.parse(await patch.locator('textarea.body-param__text').inputValue()), { IsEnabled: false })
  await patch.locator('tr[data-param-name=bucket] input').fill(bucket)
  await patch.locator('tr[data-param-name=id] input').fill('patched')
  await patch.locator('tr[data-param-name=if-match] input').fill(String(headers['etag']))
  const answered = await execute(patch)
  t.equal(answered.status, '200')
  t.match(answered.body, /"IsEnabled": false[^]*etag: "/)
  t.match(emulator.configurations(bucket), [/<IsEnabled>false<\/IsEnabled>/])
  t.strictSame(complaints, [])
})

t.test('with a key given to Authorize calls are let in, and the browser keeps nothing of it', async t => {
  const { environment } = callersFile(t, [withKey('reader', everything)])
  const { url, call, logs } = await start(t, { environment })
  const key = keyOf('reader')
  t.equal((await call('PUT', at('stored'), configuration, { authorization: `Bearer ${key}` })).status, 204)
  const { page, complaints, hosts } = await openDocs(t, browser, `${url}/docs/#/inventories/listInventories`)
  const requests: string[] = []
  page.on('request', request => { requests.push(request.url()) })
  const list = page.locator('#operations-inventories-listInventories')
  const tryList = async () => {
    await list.getByRole('button', { name: 'Try it out' }).click()
    await list.locator('tr[data-param-name=bucket] input').fill(bucket)
    return await execute(list)
  }
  const stranger = await tryList()
  t.equal(stranger.status, '401')
  t.match(stranger.body, /"code": "Unauthenticated"/)

  const dialog = await authorize(page, key)
  t.match(await dialog.innerText(), /bearer.*\(http, Bearer\)[^]*certificate \(mutualTLS\)/, 'the ways in that the document names')
  await dialog.getByRole('button', { name: 'Close', exact: true }).click()
  t.equal(await dialog.count(), 0)
  const [known] = await Promise.all([
    execute(list), page.waitForResponse(response => response.url().endsWith('/inventories') && response.status() === 200)
  ])
  t.equal(known.url, `${url}/buckets/${bucket}/inventories`)
  await list.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor()
  t.match(await list.locator('.live-responses-table .response-col_description').last().innerText(),
    /"InventoryConfigurations": \[[^]*"Id": "stored"[^]*"IsTruncated": false/)

  t.strictSame(await keptBy(page), { local: [], session: [], cookie: '', databases: [] })
  t.strictSame(await page.context().cookies(), [])
  t.strictSame(requests.filter(each => each.includes(key)), [], 'no address holds the key')
  t.strictSame([...hosts], [new URL(url).host])
  // Chromium itself says this of every answer from 400 on.
  t.match(complaints, [/^Failed to load resource: the server responded with a status of 401/])
  t.equal(complaints.length, 1, 'nothing else, and the policy holds')

  await page.reload()
  t.equal((await tryList()).status, '401', 'a page that is loaded anew knows no key')
  t.match(logs(), /"caller":"reader"/)
})

for (const isNamed of [true, false]) {
  t.test(`Swagger UI works behind a path prefix that the proxy ${isNamed ? 'names' : 'does not name'}`, async t => {
    const { emulator, url } = await start(t)
    const proxy = await startPrefixProxy(t, '/cos', url, isNamed)
    const { page, complaints, hosts } = await openDocs(t, browser, `${proxy}/cos/docs`)
    t.equal(page.url(), `${proxy}/cos/docs/`)

    const answered = await tryPut(page, 'behind-prefix', configuration)
    t.equal(answered.status, '204')
    t.match(answered.url, `${proxy}/cos${at('behind-prefix')}`)
    t.match(emulator.configurations(bucket), [/<Id>behind-prefix<\/Id>/])

    t.strictSame(complaints, [])
    t.strictSame([...hosts], [new URL(proxy).host])
  })
}

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

/** Gives Swagger UI a key as a reader of the page would; the dialog is left open. */
async function authorize (page: Page, key: string): Promise<Locator> {
  await page.locator('.auth-wrapper .authorize').first().click()
  const dialog = page.locator('.dialog-ux')
  const bearer = dialog.locator('.auth-container', { hasText: 'bearer' })
  await bearer.locator('input').fill(key)
  await bearer.getByRole('button', { name: 'Apply credentials' }).click()
  await bearer.getByRole('button', { name: 'Remove authorization' }).waitFor()
  return dialog
}

/** What a page has put into the browser to find it again. */
async function keptBy (page: Page): Promise<unknown> {
  return await page.evaluate(`(async () => ({
    local: Object.entries(localStorage), session: Object.entries(sessionStorage), cookie: document.cookie,
    databases: await indexedDB.databases()
  }))()`)
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

/** A reverse proxy that takes a prefix off the path, and names it or not. */
async function startPrefixProxy (t: Test, prefix: string, to: string, isNamed: boolean): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { method, url = '', headers } = incoming
    if (!url.startsWith(`${prefix}/`)) {
      outgoing.writeHead(404).end()
      return
    }
    const onward = httpRequest(`${to}${url.slice(prefix.length)}`, {
      method, headers: { ...headers, ...isNamed && { 'x-forwarded-prefix': prefix } }
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
