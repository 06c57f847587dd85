import { existsSync, statSync } from 'node:fs'
import { posix } from 'node:path'
import t from 'tap'
import { codeBlocks, markdownFiles, pathInRepository, readPage, withoutCode } from '../markdown.ts'

const pages = markdownFiles()
const maxLineLength = 120

/** Returns the anchors of a page as GitHub makes them from headings. */
function anchorsOf (markdown: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of withoutCode(markdown).matchAll(/^#{1,6} +(.*?)(?: +#+)?$/gm)) {
    const slug = heading.replace(/\]\([^)]*\)/g, '').toLowerCase().replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-')
    let anchor = slug
    for (let count = 1; anchors.has(anchor); count += 1) anchor = `${slug}-${count}`
    anchors.add(anchor)
  }
  return anchors
}

interface Link {
  line: number
  target: string
}

/** Returns the links of a page to files and headings of the repository. */
function relativeLinksOf (markdown: string): Link[] {
  return withoutCode(markdown).split('\n').flatMap((text, index) =>
    [...text.replace(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]: +(\S+)/g)]
      .map(([, inline, reference]) => ({ line: index + 1, target: inline ?? reference ?? '' }))
      .filter(({ target }) => !/^[a-z][a-z0-9+.-]*:/i.test(target)))
}

/** Returns why a link of a page leads nowhere; undefined when it leads somewhere. */
function problemOf (page: string, target: string): string | undefined {
  const [file = '', anchor] = target.split('#')
  const path = file === '' ? page : posix.join(posix.dirname(page), file)
  if (path.startsWith('..') || !existsSync(pathInRepository(path))) return 'no such file'
  if (anchor === undefined) return undefined
  if (statSync(pathInRepository(path)).isDirectory()) return 'a folder has no headings'
  return anchorsOf(readPage(path)).has(anchor) ? undefined : 'no such heading'
}

t.test('every relative link leads to a file and a heading', async t => {
  t.ok(pages.includes('README.md') && pages.includes('docs/api.md'))
  for (const page of pages) {
    for (const { line, target } of relativeLinksOf(readPage(page))) {
      t.equal(problemOf(page, target), undefined, `${page}:${line}: ${target}`)
    }
  }
})

t.test('a link that leads nowhere is found', async t => {
  t.equal(problemOf('docs/api.md', '../README.md#quick-start'), undefined)
  t.equal(problemOf('docs/api.md', 'nothing.md'), 'no such file')
  t.equal(problemOf('docs/api.md', '../../outside.md'), 'no such file')
  t.equal(problemOf('docs/api.md', '#nothing'), 'no such heading')
  t.equal(problemOf('README.md', 'docs#nothing'), 'a folder has no headings')
  t.strictSame([...anchorsOf('# A `b`: c_d\n## [Twice](x)\n## Twice\n```sh\n# no heading\n```\n')], ['a-b-c_d', 'twice', 'twice-1'])
  t.strictSame(relativeLinksOf('[a](b.md "c") [d](https://e)\n`[f](g)`\n```\n[h](i)\n```\n[j]: k.md\n'),
    [{ line: 1, target: 'b.md' }, { line: 6, target: 'k.md' }])
})

t.test(`no line of text is longer than ${maxLineLength} characters`, async t => {
  for (const page of pages) {
    const lines = withoutCode(readPage(page)).split('\n').map((text, index) => ({ text, line: index + 1 }))
    const tooLong = lines.filter(({ text }) => !/^ *\|/.test(text) && withoutTargets(text).length > maxLineLength)
    t.strictSame(tooLong.map(({ line }) => `${page}:${line}`), [], page)
  }
})

function withoutTargets (line: string): string {
  return line.replace(/\]\([^)]*\)/g, ']').replace(/<https?:[^>]*>/g, '')
}

t.test('README.md is short and lists every page of docs', async t => {
  const readme = readPage('README.md')
  t.ok(readme.split('\n').length <= 151, 'at most 150 lines')
  t.ok(readme.split(/\s+/).length <= 1300, 'at most 1,300 words')
  const listed = relativeLinksOf(readme).map(({ target }) => target)
  for (const page of pages.filter(path => /^docs\/[^/]+$/.test(path))) t.ok(listed.includes(page), page)
})

t.test('code blocks are closed and have a language', async t => {
  for (const page of pages) {
    const markdown = readPage(page)
    t.notMatch(withoutCode(markdown), /^ *```/m, page)
    for (const { line, language } of codeBlocks(markdown)) t.match(language, /^[a-z]+$/, `${page}:${line}`)
  }
})
