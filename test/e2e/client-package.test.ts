/** The client as npm would install it. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript'
import t from 'tap'
import { codeBlocks, pathInRepository, readPage } from '../markdown.ts'
import { bucket, configuration, start } from '../start.ts'
import { launchChromium } from './chromium.ts'
import { builtPackage } from './program.ts'

const built = fileURLToPath(new URL('dist/client', builtPackage))

t.test('types are those of the OpenAPI document', async t => {
  const types = astToString(await openapiTS(new URL('../../openapi/openapi.json', import.meta.url)))
  t.equal(readPage('src/client/openapi.ts'), `${COMMENT_HEADER}${types}`, 'run npm run openapi:types')
})

t.test('package has programs and declarations only', async t => {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: built, encoding: 'utf8', stdio: 'pipe' })
  const [{ name, files }] = JSON.parse(output) as [{ name: string, files: Array<{ path: string }> }]
  t.equal(name, 'cos-inventory-client')
  const paths = files.map(({ path }) => path)
  t.strictSame(paths.filter(path => !/^(package\.json|(cli\/)?[a-z]+(\.d\.ts|\.js))$/.test(path)), [])
  for (const path of ['index.js', 'index.d.ts', 'openapi.d.ts', 'cli.js']) t.ok(paths.includes(path), path)
})

t.test('declarations and examples compile strictly, in Node and in browsers', async t => {
  const folder = t.testdir()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(built, join(folder, 'node_modules/cos-inventory-client'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'page.ts'), `
    import { createInventoryClient } from 'cos-inventory-client'
    import type { paths } from 'cos-inventory-client/openapi'
    export type Page = paths['/buckets/{bucket}/inventories']['get']
    const client = createInventoryClient({ url: location.origin, bucket: document.title })
    for await (const { Id } of client.list({ signal: AbortSignal.timeout(1) })) document.title = Id
  `)
  const examples = ['docs/client.md', 'docs/from-your-code.md'].flatMap(page => codeBlocks(readPage(page)))
    .filter(({ language }) => language === 'ts').map(({ options: [option = ''], text }) => ({ name: option.replace('file=', ''), text }))
  t.equal(examples.length, 3)
  for (const { name, text } of examples) writeFileSync(join(folder, name), text)
  const compile = (files: string[], ...options: string[]) => {
    execFileSync(process.execPath, [
      pathInRepository('node_modules/typescript/bin/tsc'), '--ignoreConfig', '--strict', '--exactOptionalPropertyTypes', '--noEmit',
      '--target', 'es2022', '--module', 'nodenext', ...options, ...files
    ], { cwd: folder, encoding: 'utf8' })
  }
  writeFileSync(join(folder, 'tsconfig.json'), '{}')
  compile(['page.ts'], '--lib', 'es2022,dom,dom.asynciterable')
  compile(examples.map(({ name }) => name), '--types', 'node', '--typeRoots', pathInRepository('node_modules/@types'), '--skipLibCheck')
  t.throws(() => { compile(['page.ts'], '--lib', 'es2022') }, 'a page without types of browsers')
})

t.test('client runs in a browser', async t => {
  const { url } = await start(t, { environment: { REPORTS: 'true' } })
  const browser = await launchChromium()
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  // Pages of the service itself are the only ones that may call it from a browser.
  await page.route(`${url}/client/**`, route => {
    const file = new URL(route.request().url()).pathname.slice('/client/'.length)
    const type = file.endsWith('.js') ? 'text/javascript' : 'text/html'
    return route.fulfill({ contentType: type, body: file.endsWith('.js') ? readFileSync(join(built, file), 'utf8') : '<title>x</title>' })
  })
  await page.goto(`${url}/client/index.html`)
  const result = await page.evaluate(`(async () => {
    const { createInventoryClient, InventoryError } = await import('/client/index.js')
    const client = createInventoryClient({ url: location.origin, bucket: '${bucket}' })
    await client.put('daily', ${JSON.stringify(configuration)})
    await client.update('daily', current => ({ ...current, IsEnabled: false }))
    const ids = []
    for await (const { Id, IsEnabled } of client.list()) ids.push([Id, IsEnabled])
    const outcomes = []
    for await (const { Outcome } of client.applying({ InventoryConfigurations: [] }, { prune: true })) outcomes.push(Outcome)
    const missing = await client.get('daily').catch(error => error)
    return { ids, outcomes, isError: missing instanceof InventoryError, code: missing.code }
  })()`)
  t.strictSame(result, {
    ids: [['daily', false]], outcomes: ['Deleted'], isError: true, code: 'InventoryConfigurationNotFoundError'
  })
})
