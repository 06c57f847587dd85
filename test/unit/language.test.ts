import { Linter } from 'eslint'
import t from 'tap'
import tseslint from 'typescript-eslint'

interface Rules {
  problemsOf: (text: string) => string[]
  language: Linter.Config[]
  markdownLanguage: {
    function: (parameters: { lines: string[] }, onError: (error: { lineNumber: number }) => void) => void
  }
}

const rules = new URL('../../eslint.language.js', import.meta.url).href
const { problemsOf, language, markdownLanguage } = await import(rules) as Rules

t.test('problemsOf returns one message for each sentence that breaks a rule', async t => {
  const table: Array<[text: string, messages: number]> = [
    ['The service rejects the request. The caller retries it.', 0],
    ['COS has no such configuration. Nothing was sent to COS.', 0],
    ['Who reads the configuration needs a permission.', 1],
    ['The hook runs. What it reads is unknown.', 1],
    ['The service refuses the request.', 1],
    ['The service answers the request, and repeats it.', 2],
    ['The credentials are in force\n  while the caller has left.', 2],
    ['`answer` is a word like "responsive".', 1]
  ]
  for (const [text, messages] of table) t.equal(problemsOf(text).length, messages, JSON.stringify(text))
})

t.test('lint reports lines of comments, strings and titles that break a rule', async t => {
  const linter = new Linter()
  const typescript = { files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } } as Linter.Config
  const linesOf = (filename: string, lines: string[]) =>
    linter.verify(lines.join('\n'), [typescript, ...language], { filename }).map(({ line }) => line)
  const code = (text: string) => text.replaceAll('@{', '${')
  t.strictSame(linesOf('src/a.ts', [
    '/**', ' * Refuses the text.', ' * @param text the text', ' */',
    '// The caller', '// has left.',
    'f("The service refuses the request.", 1, "refused", `@{a} refused`)',
    'f(`The service refuses @{a} of a caller.`)',
    '// The response is complete.'
  ].map(code)), [1, 5, 7, 8])
  t.strictSame(linesOf('test/a.test.ts', [
    't.test("GET answers 200", f)',
    `t.test(\`GET returns 200 when @{a} is ${'long '.repeat(15)}\`, f)`,
    't.test(name, f)',
    't.test("GET returns 200", f)'
  ].map(code)), [1, 2])
})

t.test('lint reports paragraphs of Markdown that break a rule', async t => {
  const found: number[] = []
  const lines = [
    '# What it is', '', 'The service', 'refuses it.', '', '- The caller retries.', '- Who retries?', '', '```sh', 'answer', '```', '| answer |'
  ]
  markdownLanguage.function({ lines }, ({ lineNumber }) => { found.push(lineNumber) })
  t.strictSame(found, [3, 7])
})
