import t from 'tap'

const rules = new URL('../../eslint.language.js', import.meta.url).href
const { problemsOf } = await import(rules) as { problemsOf: (text: string) => string[] }

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
