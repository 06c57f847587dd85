/**
 * The rules for texts in CONTRIBUTING.md that a program can check: ESLint reads comments, strings and test titles with
 * them, markdownlint reads Markdown.
 */

const maxTitleLength = 80

/** A sentence with one of these beginnings has no noun as its subject. */
const vagueSubject =
  /^(?:who(?:ever|m|se)?|what(?:ever)?|which|those|(?:no|some|any|every)body|something|of (?:an?|the|what|those|all)|where (?:it|there))\b/i

/** Words that have a common technical term. */
const terms = [
  [/\b(?:(?:no|some|any)body|whoever)\b/i, 'a noun such as "caller", "client" or "operator"'],
  [/\brefus(?:e[sd]?|als?|ing)\b/i, '"reject"'],
  [/\b(?:mend(?:s|ed)?|anew)\b/i, '"fix", "again" or "refresh"'],
  [/\bin force\b/i, '"in effect" or "active"'],
  [/\bunder way\b/i, '"in flight" or "in progress"'],
  [/\b(?:caller|who|has|have|had) left\b|\bleaves\b/i, '"disconnect"'],
  [/\b(?:is|are) away\b/i, '"unavailable"'],
  [/\b(?:come|comes|came) (?:again|to (?:its turn|an end))\b/i, '"recur", "reach the head of the queue" or "end"'],
  [/\banswer(?:s|ed)?\b/i, '"response" or "respond"'],
  [/\brepeat(?:s|ed)?\b/i, '"retry"'],
  [/\bsilen(?:t|ce)\b/i, '"unresponsive"']
]

/** Returns what is wrong with a text, one message for each sentence and word. */
export function problemsOf (text) {
  const sentences = text.replace(/\s+/g, ' ').split(/(?<=[.;!?]) (?=[A-Z`{"'(])/).map(sentence => sentence.trim())
  return sentences.flatMap(sentence => [
    ...vagueSubject.test(sentence) ? [`Begin with a noun, not with "${vagueSubject.exec(sentence)[0]}".`] : [],
    ...terms.flatMap(([pattern, term]) => pattern.test(sentence) ? [`Write ${term}, not "${pattern.exec(sentence)[0]}".`] : [])
  ])
}

const comments = {
  create: ({ sourceCode, report }) => ({
    Program () {
      for (const { text, loc } of commentTexts(sourceCode.getAllComments())) {
        for (const message of problemsOf(text)) report({ loc, message })
      }
    }
  })
}

/** Returns blocks, and lines of comments that follow each other as one text. */
function commentTexts (all) {
  const found = []
  for (const { type, value, loc } of all) {
    const last = found.at(-1)
    if (type === 'Block') {
      const text = value.replace(/^\s*\* ?/gm, '').replace(/@(?:param|returns|throws)\s+(?:\{[^}]*\}\s*)?/g, '. ')
      found.push({ text, loc, line: undefined })
    } else if (last !== undefined && last.line === loc.start.line - 1) {
      Object.assign(last, { text: `${last.text} ${value.trim()}`, line: loc.end.line })
    } else found.push({ text: value.trim(), loc, line: loc.end.line })
  }
  return found
}

const isSentence = text => text.split(/\s+/).length >= 5

const strings = {
  create: ({ sourceCode, report }) => {
    const check = (node, text) => {
      if (!isSentence(text)) return
      for (const message of problemsOf(text)) report({ node, message })
    }
    return {
      Literal (node) { if (typeof node.value === 'string') check(node, node.value) },
      TemplateLiteral (node) { check(node, sourceCode.getText(node).slice(1, -1).replace(/\$\{[^}]*\}/g, '…')) }
    }
  }
}

const titles = {
  create: ({ sourceCode, report }) => ({
    'CallExpression[callee.property.name="test"]' ({ arguments: [title] }) {
      if (title?.type !== 'Literal' && title?.type !== 'TemplateLiteral') return
      const text = sourceCode.getText(title).slice(1, -1)
      if (text.length > maxTitleLength) report({ node: title, message: `A title has at most ${maxTitleLength} characters.` })
      for (const message of problemsOf(text)) report({ node: title, message })
    }
  })
}

const plugin = { rules: { comments, strings, titles } }

/** Configuration of ESLint. */
export const language = [
  { files: ['src/**/*.ts'], plugins: { language: plugin }, rules: { 'language/comments': 'error', 'language/strings': 'error' } },
  { files: ['test/**/*.ts'], plugins: { language: plugin }, rules: { 'language/comments': 'error', 'language/titles': 'error' } }
]

/** Rule of markdownlint. Code, tables and headings are not read. */
export const markdownLanguage = {
  names: ['plain-language'],
  description: 'Sentences begin with a noun and use common technical terms',
  tags: ['language'],
  parser: 'none',
  function: ({ lines }, onError) => {
    for (const { text, lineNumber } of paragraphsOf(lines)) {
      for (const detail of problemsOf(text)) onError({ lineNumber, detail })
    }
  }
}

function paragraphsOf (lines) {
  const found = []
  let isCode = false
  for (const [index, line] of lines.entries()) {
    if (/^\s*```/.test(line)) isCode = !isCode
    const isText = !isCode && /\S/.test(line) && !/^\s*(?:```|#|\|)/.test(line)
    if (!isText) found.push(undefined)
    else if (found.at(-1) === undefined || /^\s*(?:[-*]|\d+\.) /.test(line)) {
      found.push({ text: line.replace(/^\s*(?:[-*]|\d+\.) /, ''), lineNumber: index + 1 })
    } else found.at(-1).text += ` ${line.trim()}`
  }
  return found.filter(each => each !== undefined).map(({ text, lineNumber }) => ({ text: text.replace(/[*_]{1,2}/g, ''), lineNumber }))
}
