/**
 * Runs the shell examples of the documentation. The information string of a block says how:
 *
 * - `sh`: commands.
 * - `console`: commands after `$ `, each with its output. `…` in the output stands for any text.
 * - `sh server`: a program that serves the rest of the page. A page without one is served by a demo.
 * - `sh no-test=<reason>`: not run. `notRun` lists these blocks, and `reasons` explains them.
 * - `<any language> file=<name>`: written to this file, for commands below it.
 *
 * The examples of a page run in order, in one shell and in a folder that shows the repository. Ports 8080 and 9000 are
 * replaced by free ones. Dependencies are installed and `dist` is built already, so `npm ci`, `npm run build`,
 * `test/e2e/build.ts` and the installation of the client are left out.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { freePort } from '../free-port.ts'
import { codeBlocks, markdownFiles, pathInRepository, readPage } from '../markdown.ts'
import type { CodeBlock } from '../markdown.ts'
import { builtPackage, startProgram } from './program.ts'
import { isShown, parseConsole, startShell } from './shell.ts'
import type { ShellExample } from './shell.ts'

const reasons: Record<string, string> = {
  'needs-docker': 'There is no container engine here. `npm run test:image` builds the image and runs it as the pages say.',
  'needs-kubectl': 'There is no cluster here. `test/deploy` checks the manifests against the types of Kubernetes.',
  'needs-tls': 'The demo serves plain HTTP.',
  'needs-cos-account': 'COS cannot be reached from a test.',
  'needs-duckdb': 'DuckDB has no Debian package. The rows are read with jq on the same page.',
  'needs-release': 'The commands change the repository. `test/packaging.test.ts` compares the versions.',
  'needs-signing-key': 'There is no key and no registry here.',
  'needs-idle-machine': 'A measurement takes minutes and an idle machine. `.ci/run` runs its short form.'
}

/** The blocks that are not run, in the order of the pages. */
const notRun = [
  'README.md needs-docker',
  'docs/deployment.md needs-docker',
  'docs/deployment.md needs-docker',
  'docs/deployment.md needs-docker',
  'docs/deployment.md needs-docker',
  'docs/deployment.md needs-kubectl',
  'docs/emulator.md needs-docker',
  'docs/getting-started.md needs-cos-account',
  'docs/performance.md needs-idle-machine',
  'docs/release.md needs-release',
  'docs/release.md needs-release',
  'docs/release.md needs-docker',
  'docs/release.md needs-signing-key',
  'docs/release.md needs-signing-key',
  'docs/release.md needs-signing-key',
  'docs/reports.md needs-duckdb',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-tls',
  'docs/runbooks.md needs-cos-account',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-kubectl',
  'docs/runbooks.md needs-kubectl'
]

const isShell = ({ language }: CodeBlock) => /^(sh|console|bash|shell|zsh|shellsession)$/.test(language)
const fileOf = ({ options }: CodeBlock) => options.find(option => option.startsWith('file='))?.slice('file='.length)

const pages = markdownFiles().filter(path => /^(README|CONTRIBUTING|docs\/.*)\.md$/.test(path)).map(path => ({
  path,
  blocks: codeBlocks(readPage(path)).filter(block =>
    isShell(block) || fileOf(block) !== undefined)
}))

const reasonOf = ({ options }: CodeBlock) =>
  options.find(option => option.startsWith('no-test='))?.slice('no-test='.length)
const isServer = ({ options }: CodeBlock) => options.includes('server')

t.test('every shell block is run, or says why it is not', async t => {
  for (const { path, blocks } of pages) {
    for (const { line, language, options } of blocks.filter(isShell)) {
      const at = `${path}:${line}`
      t.match(language, /^(sh|console)$/, `${at}: a shell block is sh or console`)
      t.strictSame(options.filter(option => !/^(server|no-test=.+)$/.test(option)), [], at)
    }
  }
  const found = pages.flatMap(({ path, blocks }) => blocks.map(reasonOf).filter(reason => reason !== undefined)
    .map(reason => `${path} ${reason}`))
  t.strictSame(found, notRun)
  for (const reason of found.map(each => each.split(' ')[1] ?? '')) t.ok(reasons[reason], reason)
})

for (const { path, blocks } of pages) {
  const runnable = blocks.filter(block => reasonOf(block) === undefined)
  if (runnable.length === 0) continue
  t.test(`examples of ${path} print the shown output`, async t => {
    const [port, emulatorPort] = [String(await freePort()), String(await freePort())]
    const withPorts = (text: string) =>
      text.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`).replaceAll('127.0.0.1:9000', `127.0.0.1:${emulatorPort}`)
    const withoutPorts = (text: string) =>
      text.replaceAll(`127.0.0.1:${port}`, '127.0.0.1:8080').replaceAll(`127.0.0.1:${emulatorPort}`, '127.0.0.1:9000')
    const folder = folderLikeRepository(t)
    const shell = startShell(folder, {
      PATH: `${folder}/bin:${process.env['PATH']}`,
      HOME: folder,
      LANG: 'C.UTF-8',
      PORT: port,
      EMULATOR_PORT: emulatorPort,
      // npx would print news about npm.
      NPM_CONFIG_UPDATE_NOTIFIER: 'false'
    })
    t.teardown(() => shell.end())
    if (!runnable.some(isServer)) {
      const demo = startProgram(t, 'demo', { PORT: port })
      await demo.until(/cos-inventory-proxy is at/)
    }
    for (const block of runnable) {
      const file = fileOf(block)
      if (file !== undefined) {
        writeFileSync(join(folder, file), withPorts(block.text))
        continue
      }
      if (isServer(block)) {
        await shell.start(withPorts(withoutPreparation(block.text)), /Server listening at|COS_CONNECT_TO/)
        continue
      }
      for (const { command, output: shown } of examplesOf(block)) {
        const prepared = withoutPreparation(command)
        if (prepared.trim() === '') continue
        const { status, output } = await shell.run(withPorts(prepared))
        const seen = withoutPorts(output)
        const at = `${path}:${block.line}: ${prepared.split('\n')[0]}`
        t.equal(status, 0, at, { output: seen })
        if (shown !== undefined && !isShown(shown, seen)) t.equal(seen.trimEnd(), shown.trimEnd(), at)
      }
    }
  })
}

/**
 * Returns a folder with the files of the repository and the build under test as `dist`. Files are copies, so that an
 * example which writes `callers.json` does not change the one of a developer. A `.env` may contain real keys.
 */
function folderLikeRepository (t: { teardown (handler: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'examples-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  for (const entry of readdirSync(pathInRepository('.'), { withFileTypes: true })) {
    if (/^(dist|node_modules|\.git|\.tap|\.env)$/.test(entry.name)) continue
    const place = entry.isFile() ? copyFileSync : symlinkSync
    place(pathInRepository(entry.name), join(folder, entry.name))
  }
  symlinkSync(fileURLToPath(new URL('dist', builtPackage)), join(folder, 'dist'))
  // The packages of the repository, and the client as a package.
  for (const name of ['node_modules', 'bin']) mkdirSync(join(folder, name))
  for (const name of readdirSync(pathInRepository('node_modules'))) {
    symlinkSync(pathInRepository(`node_modules/${name}`), join(folder, 'node_modules', name))
  }
  symlinkSync(join(folder, 'dist/client'), join(folder, 'node_modules/cos-inventory-client'))
  symlinkSync(join(folder, 'dist/client/cli.js'), join(folder, 'bin/cos-inventory-client'))
  return folder
}

function withoutPreparation (command: string): string {
  return command.replace(/\b(?:npm ci|npm run build|npm install.* cos-inventory-client|node --import tsx test\/e2e\/build\.ts)(?: && |\n|$)/g, '')
}

function examplesOf ({ language, text }: CodeBlock): ShellExample[] {
  return language === 'console' ? parseConsole(text) : [{ command: text, output: undefined }]
}

t.test('an example fails when its output is another', async t => {
  t.ok(isShown('{"id":"…"}\n…\nend', '{"id":"1"}\na\nb\nend\n'))
  t.ok(isShown('', ''))
  t.notOk(isShown('204', '404'))
  t.notOk(isShown('', 'something'))
  t.notOk(isShown('a.c', 'abc'))
  t.strictSame(parseConsole('$ cat <<EOF\n$ x\nEOF\n$ x\n$ echo \'a\nb\'\na\nb\n'), [
    { command: 'cat <<EOF\n$ x\nEOF', output: '' },
    { command: 'x', output: '' },
    { command: "echo 'a\nb'", output: 'a\nb' }
  ])
  t.throws(() => parseConsole('ls\n'))
})
