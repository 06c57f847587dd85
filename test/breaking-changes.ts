/** Finds the changes of an OpenAPI document that break clients of an earlier one, as docs/compatibility.md has them. */

type Node = Record<string, any>
type Direction = 'request' | 'response'

/** Returns one line for each breaking change. */
export function breakingChanges (before: Node, after: Node): string[] {
  const found: string[] = []
  const report = (at: string, what: string) => { found.push(`${at}: ${what}`) }
  const old = (node: Node) => resolve(before, node)
  const now = (node: Node) => resolve(after, node)

  function compareSchemas (one: Node, other: Node, direction: Direction, at: string, depth = 0): void {
    const [from, to] = [old(one), now(other)]
    // The schemas are not recursive. The limit only protects against a document whose schemas are.
    if (depth === 20) return
    for (const keyword of ['type', 'format']) {
      if (JSON.stringify(from[keyword]) !== JSON.stringify(to[keyword])) report(at, `${keyword} changed`)
    }
    const isNarrower = to['pattern'] !== undefined && from['pattern'] !== to['pattern']
    if (direction === 'request' && isNarrower) report(at, 'pattern changed')
    compareWords(from, to, direction, at)
    compareRequired(from, to, direction, at)
    for (const [name, member] of Object.entries<Node>(from['properties'] ?? {})) {
      const next = to['properties']?.[name]
      if (next === undefined) report(`${at}/${name}`, 'removed')
      else compareSchemas(member, next, direction, `${at}/${name}`, depth + 1)
    }
    const [items, nextItems] = [from['items'], to['items']]
    const areLists = items !== undefined && nextItems !== undefined
    if (areLists) compareSchemas(items, nextItems, direction, `${at}/[]`, depth + 1)
    for (const keyword of ['anyOf', 'allOf']) {
      const [branches, next]: Node[][] = [from[keyword] ?? [], to[keyword] ?? []]
      if (branches?.length !== next?.length) report(at, `${keyword} changed`)
      else branches?.forEach((each, index) => { compareSchemas(each, next?.[index] as Node, direction, at, depth + 1) })
    }
  }

  function compareWords (from: Node, to: Node, direction: Direction, at: string): void {
    if (from['enum'] === undefined && to['enum'] === undefined) return
    const [words, next]: string[][] = [from['enum'] ?? [], to['enum'] ?? []]
    for (const word of words as string[]) if (!(next as string[]).includes(word)) report(at, `${word} removed`)
    // Clients decide by the status if they do not know a code, but other lists of a response are complete.
    const isOpen = at.endsWith('/code')
    if (direction === 'request' || isOpen) return
    for (const word of next as string[]) if (!(words as string[]).includes(word)) report(at, `${word} added`)
  }

  function compareRequired (from: Node, to: Node, direction: Direction, at: string): void {
    const [required, next]: [string[], string[]] = [from['required'] ?? [], to['required'] ?? []]
    const lacks = (names: string[]) => (name: string) => !names.includes(name)
    if (direction === 'request') for (const name of next.filter(lacks(required))) report(`${at}/${name}`, 'required')
    else for (const name of required.filter(lacks(next))) report(`${at}/${name}`, 'no longer always present')
  }

  function compareContent (one: Node, other: Node, direction: Direction, at: string): void {
    for (const [type, { schema }] of Object.entries<Node>(one['content'] ?? {})) {
      const next = other['content']?.[type]
      if (next === undefined) report(at, `${type} removed`)
      else compareSchemas(schema, next.schema, direction, at)
    }
  }

  function compareParameters (one: Node, other: Node, at: string): void {
    const [given, next] = [(one['parameters'] ?? []).map(old), (other['parameters'] ?? []).map(now)] as [Node[], Node[]]
    const find = (list: Node[], { name, in: place }: Node) => list.find(each => each['name'] === name && each['in'] === place)
    for (const each of given) {
      const kept = find(next, each)
      if (kept === undefined) report(`${at} ${each['name']}`, 'removed')
      else compareSchemas(each['schema'], kept['schema'], 'request', `${at} ${each['name']}`)
    }
    for (const each of next.filter(({ required }) => required === true)) {
      if (find(given, each)?.['required'] !== true) report(`${at} ${each['name']}`, 'required')
    }
  }

  for (const [path, operations] of Object.entries<Node>(before['paths'])) {
    for (const [method, operation] of Object.entries<Node>(operations)) {
      const at = `${method.toUpperCase()} ${path}`
      const next = after['paths'][path]?.[method]
      if (next === undefined) {
        report(at, 'removed')
        continue
      }
      if (operation['operationId'] !== next.operationId) report(at, 'operationId changed')
      compareParameters(operation, next, at)
      compareContent(operation['requestBody'] ?? {}, next.requestBody ?? {}, 'request', `${at} request`)
      for (const [status, response] of Object.entries<Node>(operation['responses'])) {
        if (next.responses[status] === undefined) {
          report(`${at} ${status}`, 'removed')
          continue
        }
        const [from, to] = [old(response), now(next.responses[status])]
        compareContent(from, to, 'response', `${at} ${status}`)
        for (const name of Object.keys(from['headers'] ?? {})) {
          if (to['headers']?.[name] === undefined) report(`${at} ${status} ${name}`, 'removed')
        }
      }
    }
  }
  return [...new Set(found)]
}

function resolve (document: Node, node: Node): Node {
  if (node['$ref'] === undefined) return node
  return String(node['$ref']).split('/').slice(1).reduce<Node>((each, key) => each[key], document)
}
