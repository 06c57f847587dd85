/** Whether a name fits, as a whole. */
export type Glob = (name: string) => boolean

/**
 * A matcher for a pattern in which `*` stands for any run of characters, also none, and everything else for itself.
 * Between the stars the leftmost place is always as good as any other, so that nothing is ever tried twice: a pattern
 * of many stars costs no more than one search for each of its pieces.
 */
export function compileGlob (pattern: string): Glob {
  const [prefix = '', ...pieces] = pattern.split('*')
  const suffix = pieces.pop()
  if (suffix === undefined) return name => name === pattern
  return name => {
    const end = name.length - suffix.length
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) return false
    let at = prefix.length
    for (const piece of pieces) {
      const found = name.indexOf(piece, at)
      if (found < 0) return false
      at = found + piece.length
    }
    return at <= end
  }
}
