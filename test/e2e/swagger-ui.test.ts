import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import type { Browser, Locator, Page } from 'playwright-core'
import t from 'tap'
import { callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { at, bucket, configuration, start } from '../start.ts'
import { launchChromium } from './chromium.ts'

interface Test {
  teardown (handler: () => unknown): void
}
/** A page with its errors and outbound requests. */
interface Watched {
  page: Page
  /** Errors of the console, of scripts and of the content security policy. */
  complaints: string[]
  /** Hosts that the page sent requests to. */
  hosts: Set<string>
}

const browser = await launchChromium()
t.teardown(() => browser.close())

t.test('Swagger UI sends PUT by Try it out, and requests to no other host', async t => {
  const { emulator, url } = await start(t)
  const { page, complaints, hosts } = await openDocs(t, browser, `${url}/docs`)
  t.equal(page.url(), `${url}/docs/`)
  t.match(await page.locator('.info').innerText(), /^cos-inventory-proxy/)

  const result = await tryPut(page, 'by-browser', { ...configuration, IsEnabled: false })
  t.equal(result.status, '204')
  t.match(result.url, `${url}${at('by-browser')}`)
  t.match(emulator.configurations(bucket), [/<Id>by-browser<\/Id>.*<IsEnabled>false<\/IsEnabled>/s])

  t.strictSame(complaints, [])
  t.strictSame([...hosts], [new URL(url).host])
})

t.test('Swagger UI offers the PUT example, which returns 204 unchanged', async t => {
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

t.test('Swagger UI shows a problem document when PUT returns 400', async t => {
  const { emulator, url } = await start(t)
  const { page } = await openDocs(t, browser, `${url}/docs/`)
  const result = await tryPut(page, 'refused', { ...configuration, Schedule: { Frequency: 'Hourly' } })
  t.equal(result.status, '400')
  t.match(result.body, /"code": "ValidationFailed"[^]*"pointer": "\/Schedule\/Frequency"/)
  t.strictSame(emulator.requests, [])
})

t.test('Swagger UI sends PATCH with an example merge patch', async t => {
  const { call, emulator, url } = await start(t)
  const { headers } = await call('PUT', at('patched'), configuration)
  const { page, complaints } = await openDocs(t, browser, `${url}/docs/`)
  const patch = page.locator('#operations-inventories-patchInventory')
  await patch.locator('.opblock-summary-control').click()
  await patch.getByRole('button', { name: 'Try it out' }).click()
  t.equal(await patch.locator('.opblock-section-request-body select').inputValue(), 'application/json')
  t.strictSame(JSON.parse(await patch.locator('textarea.body-param__text').inputValue()), { IsEnabled: false })
  await patch.locator('tr[data-param-name=bucket] input').fill(bucket)
  await patch.locator('tr[data-param-name=id] input').fill('patched')
  await patch.locator('tr[data-param-name=If-Match] input').fill(String(headers['etag']))
  const result = await execute(patch)
  t.equal(result.status, '200')
  t.match(result.body, /"IsEnabled": false[^]*etag: "/)
  t.match(emulator.configurations(bucket), [/<IsEnabled>false<\/IsEnabled>/])
  t.strictSame(complaints, [])
})

t.test('an expanded PUT of Swagger UI has at most 4,000 pixels', async t => {
  const { url } = await start(t)
  const { page, complaints } = await openDocs(t, browser, `${url}/docs/#/inventories/putInventory`)
  await page.setViewportSize({ width: 1280, height: 900 })
  const put = page.locator('#operations-inventories-putInventory')
  await put.locator('tr.response[data-code=default]').waitFor()
  const height = Number((await put.boundingBox())?.height)
  t.ok(height > 1000 && height <= 4000, `${height} pixels`)
  t.match(await put.locator('tr.response[data-code="412"]').innerText(), /PreconditionFailed[^]*Proxy-Status/)
  t.strictSame(complaints, [])
})

t.test('Swagger UI follows the color scheme of the browser, and has a viewport', async t => {
  const { url } = await start(t)
  const { page, complaints } = await openDocs(t, browser, `${url}/docs/`)
  t.equal(await page.locator('html.dark-mode').count(), 0)
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.locator('html.dark-mode').waitFor()
  t.equal(await page.locator('meta[name=viewport]').getAttribute('content'), 'width=device-width, initial-scale=1')
  t.strictSame(complaints, [])
})

t.test('Swagger UI sends the key of Authorize and stores it nowhere', async t => {
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
  t.match(await dialog.innerText(), /bearer.*\(http, Bearer\)[^]*certificate \(mutualTLS\)/, 'the security schemes of the document')
  await dialog.getByRole('button', { name: 'Close', exact: true }).click()
  t.equal(await dialog.count(), 0)
  const [known] = await Promise.all([
    execute(list), page.waitForResponse(response => response.url().endsWith('/inventories') && response.status() === 200)
  ])
  t.equal(known.url, `${url}/buckets/${bucket}/inventories`)
  await list.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor()
  t.match(await list.locator('.live-responses-table .response-col_description').last().innerText(),
    /"InventoryConfigurations": \[[^]*"Id": "stored"[^]*"IsTruncated": false/)

  t.strictSame(await storedBy(page), { local: [], session: [], cookie: '', databases: [] })
  t.strictSame(await page.context().cookies(), [])
  t.strictSame(requests.filter(each => each.includes(key)), [], 'no URL contains the key')
  t.strictSame([...hosts], [new URL(url).host])
  // Chromium itself logs this for every response from 400 on.
  t.match(complaints, [/^Failed to load resource: the server responded with a status of 401/])
  t.equal(complaints.length, 1, 'no other error and no policy violation')

  await page.reload()
  t.equal((await tryList()).status, '401', 'a reloaded page has no key')
  t.match(logs(), /"caller":"reader"/)
})

for (const [isNamed, verb] of [[true, 'forwards'], [false, 'omits']] as const) {
  t.test(`Swagger UI works behind a path prefix that the proxy ${verb}`, async t => {
    const { emulator, url } = await start(t)
    const proxy = await startPrefixProxy(t, '/cos', url, isNamed)
    const { page, complaints, hosts } = await openDocs(t, browser, `${proxy}/cos/docs`)
    t.equal(page.url(), `${proxy}/cos/docs/`)

    const result = await tryPut(page, 'behind-prefix', configuration)
    t.equal(result.status, '204')
    t.match(result.url, `${proxy}/cos${at('behind-prefix')}`)
    t.match(emulator.configurations(bucket), [/<Id>behind-prefix<\/Id>/])

    t.strictSame(complaints, [])
    t.strictSame([...hosts], [new URL(proxy).host])
  })
}

/** Opens Swagger UI in a new browser context and waits until it has loaded the document. */
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

/** Enters a key in Swagger UI as a user would; the dialog stays open. */
async function authorize (page: Page, key: string): Promise<Locator> {
  await page.locator('.auth-wrapper .authorize').first().click()
  const dialog = page.locator('.dialog-ux')
  const bearer = dialog.locator('.auth-container', { hasText: 'bearer' })
  await bearer.locator('input').fill(key)
  await bearer.getByRole('button', { name: 'Apply credentials' }).click()
  await bearer.getByRole('button', { name: 'Remove authorization' }).waitFor()
  return dialog
}

/** Returns everything that the page has stored in the browser. */
async function storedBy (page: Page): Promise<unknown> {
  return await page.evaluate(`(async () => ({
    local: Object.entries(localStorage), session: Object.entries(sessionStorage), cookie: document.cookie,
    databases: await indexedDB.databases()
  }))()`)
}

/** Sends a PUT as a user of the page would. */
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

/** Starts a reverse proxy that removes a path prefix, with or without X-Forwarded-Prefix. */
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
    onward.on('response', response => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers)
      pipeline(response, outgoing, () => {})
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

/** test/install.sh checks the same names. */
