/** Metrics of a PromQL expression with their selected labels, and the labels that it groups by. */
export interface Reads {
  metrics: Map<string, Set<string>>
  grouping: Set<string>
}

const keywords = new Set(['and', 'or', 'unless', 'offset', 'bool', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])

/** Parses an expression that promtool accepts. It supports only the syntax used in `deploy`. */
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
