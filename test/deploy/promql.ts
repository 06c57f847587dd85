/** What a PromQL expression reads: its metrics with the labels they are selected by, and the labels it groups by. */
export interface Reads {
  metrics: Map<string, Set<string>>
  grouping: Set<string>
}

const keywords = new Set(['and', 'or', 'unless', 'offset', 'bool', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])

/** Reads an expression that promtool takes; enough of the language for the expressions of `deploy`. */
export function readExpression (expression: string): Reads {
  const metrics = new Map<string, Set<string>>()
  const add = (name: string, labels: string[]) => {
    metrics.set(name, new Set([...metrics.get(name) ?? [], ...labels]))
  }
  const grouping = new Set<string>()
  const rest = expression
    .replace(/"(?:[^"\\]|\\.)*"/g, '""')
    .replace(/\[[^\]]*\]|\boffset\s+\w+/g, ' ')
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g, (_, names: string) => {
      for (const name of names.split(',')) grouping.add(name.trim())
      return ' '
    })
    .replace(/([A-Za-z_:][\w:]*)\s*\{([^}]*)\}/g, (_, name: string, matchers: string) => {
      add(name, [...matchers.matchAll(/(\w+)\s*(?:=|!)/g)].map(([, label = '']) => label))
      return ' '
    })
  for (const [, name = '', call] of rest.matchAll(/(?<![\w:.])([A-Za-z_:][\w:]*)(\s*\()?/g)) {
    if (call === undefined && !keywords.has(name)) add(name, [])
  }
  return { metrics, grouping }
}
