/** Returns whether a whole name matches a pattern. */
export type Glob = (name: string) => boolean

/**
 * Compiles a pattern. `*` matches any run of characters, including none. Every other character matches itself. The
 * matcher takes the leftmost match of each piece between two stars and never backtracks. A pattern of many stars costs
 * one search per piece.
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
