/**
 * Returns the place of the first syntax error in JSON as part of a sentence, or an empty text. JSON.parse does not name
 * the place of every error. The parser is loaded for the first error only.
 */
export async function placeOfError (text: string): Promise<string> {
  const { parse } = await import('jsonc-parser')
  const errors: Array<{ offset: number }> = []
  try {
    parse(text, errors as never, { disallowComments: true, allowTrailingComma: false })
  } catch {
    // The parser recurses, and the text nests deeper than the stack.
    return ''
  }
  const [first] = errors
  if (first === undefined) return ''
  const lines = text.slice(0, first.offset).split(/\r?\n/)
  return `: there is an error in line ${lines.length}, column ${String(lines.at(-1)).length + 1}`
}
