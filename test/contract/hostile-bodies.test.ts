import t from 'tap'
import { at, configuration, start } from '../start.ts'
import type { Answer, Running } from '../start.ts'

const mergePatch = { 'content-type': 'application/merge-patch+json' }
const unknownToo = '?allow-unknown=true'
const KiB = 1024

/** The body of a PUT with more members, as text: some of them cannot be written as an object of JavaScript. */
const withMembers = (members: string) => `${JSON.stringify(configuration).slice(0, -1)},${members}}`
const list = (length: number, value: string) => `[${Array(length).fill(value).join()}]`
const patch = ({ call }: Running, body: string, query = unknownToo) => call('PATCH', at('a', query), body, mergePatch)
const placesOf = ({ json }: Answer) => json.errors.map(({ pointer, detail }: { pointer: string, detail: string }) => `${pointer} ${detail}`)

t.test('PATCH names one error for a list of 4,000 lists', async t => {
  const running = await start(t)
  await running.call('PUT', at('a'), configuration)
  const rejected = await patch(running, `{"X":${list(4_000, '[]')}}`)
  t.match(rejected, { status: 400, json: { detail: 'The request has 1 fault; errors names each.' } })
  t.strictSame(placesOf(rejected), ['/X must not hold an array in an array'])
  const both = await patch(running, '{"X":[[],null,[],{"1st":[[],[]]}]}')
  t.strictSame(placesOf(both), [
    '/X must not hold an array in an array', '/X/1 must be a string, number, boolean, object or array',
    '/X/3/1st is not an XML name, so it cannot become an element'
  ])
})

t.test('PUT rejects a name too long for an element without naming what it holds', async t => {
  const { call, emulator } = await start(t)
  const long = 'k'.repeat(200 * KiB)
  for (const value of [list(4_000, 'null'), list(4_000, '1'), `{${Array.from({ length: 1_000 }, (_, index) => `"a${index}":null`).join()}}`]) {
    const rejected = await call('PUT', at('a', unknownToo), withMembers(`"${long}":${value}`))
    t.equal(rejected.status, 400)
    t.strictSame(placesOf(rejected), [`/${long} is a name of more than 255 characters, so it cannot become an element`])
  }
  t.strictSame(emulator.requests, [])
  t.equal((await call('PUT', at('a', unknownToo), withMembers(`"${long.slice(0, 255)}":"x"`))).status, 204)
})

t.test('PUT stops naming errors when their text reaches 256 KiB', async t => {
  const { call } = await start(t)
  // A tilde of the body is two characters of a pointer.
  const names = Array.from({ length: 100 }, (_, index) => `"${'~'.repeat(2_500)}${index}":1`)
  const { json, text } = await call('PUT', at('a'), withMembers(names.join()))
  t.equal(json.errors.length, 52)
  t.equal(json.detail, 'The request has 100 faults; errors names the first 52.')
  t.ok(text.length < 300 * KiB, `${text.length} bytes`)
})
