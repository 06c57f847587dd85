import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import ts from 'typescript'

const levels = new Set(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'audit'])

/** Fastify writes these itself. */
const ofFastify = [['Server listening at …', 'info']] as const

/** Returns the levels of each log message in a source file. */
function messagesIn (source: ts.SourceFile): Array<[message: string, level: string]> {
  const found: Array<[string, string]> = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) found.push(...messagesOf(node))
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Returns the messages and levels of a call, if it is a call of a logger. */
function messagesOf ({ expression: callee, arguments: given }: ts.CallExpression): Array<[string, string]> {
  if (!ts.isPropertyAccessExpression(callee) && !ts.isElementAccessExpression(callee)) return []
  if (!/(?:^|\.)(?:log|logger|audit)$/.test(callee.expression.getText())) return []
  const names = ts.isPropertyAccessExpression(callee) ? [callee.name.text] : textsOf(callee.argumentExpression)
  const last = given.at(-1)
  if (last === undefined) return []
  const used = names.filter(name => levels.has(name))
  return used.flatMap(name => textsOf(last).map((text): [string, string] => [text, name]))
}

/** Returns the texts that an expression can have. An ellipsis stands for a part that is not constant. */
function textsOf (node: ts.Expression): string[] {
  if (ts.isStringLiteralLike(node)) return [node.text]
  if (ts.isParenthesizedExpression(node)) return textsOf(node.expression)
  if (ts.isConditionalExpression(node)) return [...textsOf(node.whenTrue), ...textsOf(node.whenFalse)]
  if (ts.isTemplateExpression(node)) {
    return [node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('')]
  }
  if (ts.isBinaryExpression(node)) {
    const right = textsOf(node.right)
    return textsOf(node.left).flatMap(start => right.map(end => start + end))
  }
  return ['…']
}

/** Returns one line for each message, with its levels in alphabetical order. */
function linesOf (pairs: Iterable<readonly [message: string, level: string]>): string[] {
  const byMessage = new Map<string, Set<string>>()
  for (const [message, level] of pairs) byMessage.set(message, (byMessage.get(message) ?? new Set()).add(level))
  return [...byMessage].map(([message, of]) => `${message} | ${[...of].sort().join(', ')}`).sort()
}

const parse = (name: string, text: string) => ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)

test('the search finds constant, joined, conditional and variable messages', async t => {
  const source = parse('example.ts', `
    log.warn('plain'); request.log.info({ a: 1 }, 'one ' + 'two'); call.log[isProbe ? 'debug' : 'info'](fields, \`a \${b} c\`)
    logger.error(isFirst ? 'first' : 'later'); log.error(fields, error.detail); console.error('none'); catalog.info('none')`)
  t.strictSame(linesOf(messagesIn(source)),
    ['a … c | debug, info', 'first | error', 'later | error', 'one two | info', 'plain | warn', '… | error'])
})

test('docs/observability.md lists every log message with its levels, and no others', async t => {
  const folder = new URL('../../src/', import.meta.url)
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts') && !name.startsWith('emulator/'))
  const found = files.flatMap(name => messagesIn(parse(name, readFileSync(new URL(name, folder), 'utf8'))))
  const [, section = ''] = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8').split('\n## Log messages\n')
  const [table = ''] = section.split('\n## ')
  const listed = [...table.matchAll(/^\| `(.+?)` \| ([a-z, ]+) \|/gm)]
    .flatMap(([, message = '', of = '']) => of.split(', ').map(level => [message, level] as const))
  t.ok(listed.length > 20)
  t.strictSame(linesOf(listed), linesOf([...found, ...ofFastify]))
})
