import t from 'tap'
import { compileGlob } from '../../src/callers/glob.ts'
import { destinationsOf } from '../../src/callers/permissions.ts'
import { bucketPattern, regionPattern } from '../../src/contract/names.ts'
import { ChangeHeadersSchema } from '../../src/contract/requests.ts'
import { firstRoleOf } from '../../src/cos/credentials/cvm-role.ts'
import { folderOfReports, isFolderOfReports } from '../../src/cos/report-keys.ts'
import { pathOf } from '../../src/http/context/path-of.ts'
import { preconditionsOf } from '../../src/http/body/preconditions.ts'
import { readTraceContext } from '../../src/tracing/tracing.ts'
import { createBareApp } from '../bare-app.ts'
import { growsLinearly } from '../growth.ts'

const size = 16_384
const entityTags = new RegExp(ChangeHeadersSchema.properties['if-match'].pattern as string, 'u')
const glob = compileGlob('*a*b*-1')

/** Returns copies of a text with at least this total length. */
function repeated (text: string, length: number): string {
  return text.repeat(Math.ceil(length / text.length))
}

const table: Array<[string, (text: string) => unknown, Array<(length: number) => string>]> = [
  ['destinations of a body', text => destinationsOf({ a: text }), [
    length => repeated('qcs:', length), length => repeated(`qcs:${'x'.repeat(100)}`, length),
    length => `qcs:a:${'b'.repeat(length)}`, length => `${' '.repeat(length)}x${' '.repeat(length)}`
  ]],
  ['glob', glob, [length => repeated('a', length), length => repeated('ab-', length)]],
  ['bucket name', text => new RegExp(bucketPattern, 'u').test(text), [
    length => `${repeated('1-', length)}!`, length => `a-${repeated('1', length)}!`, length => `${repeated('a', length)}!`
  ]],
  ['region', text => new RegExp(regionPattern, 'u').test(text), [length => `${repeated('a-', length)}!`]],
  ['entity tags', text => entityTags.test(text), [
    length => `${' '.repeat(length)}!`, length => `"a"${repeated(' ,', length)}!`,
    length => `${repeated('"a" , ', length)}!`, length => `"a"${' '.repeat(length)}!`, length => `"${'a'.repeat(length)}`
  ]],
  ['preconditions', text => preconditionsOf({ headers: { 'if-match': text, 'if-none-match': text } }), [
    length => repeated('"a",', length), length => `"${repeated('W/', length)}`, length => repeated('W/"', length)
  ]],
  ['prefixes of reports', text => folderOfReports(text, 'b-1250000000', 'i'), [
    length => `${'/'.repeat(length)}x`, length => `x${'/'.repeat(length)}`
  ]],
  ['folders of reports', isFolderOfReports, [
    length => `${repeated('1/', length)}!`, length => `${repeated('1/a/b/', length)}!`, length => `${'1'.repeat(length)}/!`
  ]],
  ['roles of an instance', firstRoleOf, [length => `a${' '.repeat(length)}b`, length => `a${'\n'.repeat(length)}b`]],
  ['path', text => pathOf({ url: text }), [length => 'a'.repeat(length), length => `a://${'a'.repeat(length)}`]],
  ['trace context', text => readTraceContext(`00-${'1'.repeat(32)}-${'1'.repeat(16)}-01`, text), [
    length => `${' '.repeat(length)}x`, length => repeated('a=b,', length)
  ]]
]

for (const [subject, read, malicious] of table) {
  t.test(`parser of ${subject} takes linear time when the input is malicious`, async t => {
    for (const toText of malicious) {
      t.ok(growsLinearly(length => read(toText(length)), size), JSON.stringify(toText(20)))
    }
  })
}

t.test('destinationsOf takes linear time when a long name has many members', async t => {
  const bodyOf = (length: number) => ({
    ['~'.repeat(length)]: Object.fromEntries(Array.from({ length: length / 20 }, (_, index) => [`m${index}`, null]))
  })
  const bodies = new Map([size, 4 * size].map(length => [length, bodyOf(length)]))
  t.ok(growsLinearly(length => destinationsOf(bodies.get(length) ?? bodyOf(length)), size))
})

t.test('parser of X-Forwarded-For takes linear time when the input is malicious', async t => {
  const app = await createBareApp(t, { trustProxy: ['10.0.0.0/8', '127.0.0.1', 'fc00::/7'] })
  app.get('/', async ({ context }) => context.clientAddress)
  const costOf = async (header: string) => {
    const costs: number[] = []
    for (let run = 0; run < 3; run += 1) {
      const before = process.cpuUsage()
      await app.inject({ url: '/', remoteAddress: '127.0.0.1', headers: { 'x-forwarded-for': header } })
      costs.push(process.cpuUsage(before).user / 1000)
    }
    return Math.min(...costs)
  }
  const malicious: Array<(length: number) => string> = [
    length => '1'.repeat(length), length => repeated('10.0.0.1,', length), length => repeated(',', length),
    length => `${' '.repeat(length)}x,${' '.repeat(length)}`, length => `fc00::${repeated('1:', length)}`,
    length => `fc00::1%${'a'.repeat(length)}`
  ]
  for (const toHeader of malicious) {
    const small = await costOf(toHeader(size))
    t.ok(await costOf(toHeader(4 * size)) <= 8 * small + 20, toHeader(20))
  }
})
