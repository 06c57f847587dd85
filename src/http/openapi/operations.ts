/** Converts operations from the form that the plugin collects to that of the document. */
import { componentNameOf, headerRefs } from './headers.ts'
import type { HeaderName } from './headers.ts'
import { sharedResponses } from './responses.ts'

/** The extension that carries the shared responses of a route to its operation. The document does not contain it. */
export const statusesExtension = 'x-statuses'

interface Parameter {
  name: string
  in: string
  required?: boolean
  description?: string
  schema: object
  example?: unknown
}

interface Operation {
  operationId: string
  tags: string[]
  summary: string
  description: string
  parameters?: Parameter[]
  requestBody?: object
  security?: object[]
  responses: Record<string, { headers: object }>
  [statusesExtension]: number[]
}

/** Operations by path and method. */
export type Paths = Record<string, Record<string, Operation>>

type Refer = (parameter: Parameter) => object

const methods = ['get', 'head', 'put', 'patch', 'delete', 'post']
const places = ['path', 'query', 'header']

/**
 * Returns the operations in the order in which people read them: by tag, then as they were registered, then by method.
 *
 * @param tags names of the tags in order
 * @param refer returns a parameter, or the reference to it
 */
export function finishedPaths (paths: Paths, tags: string[], refer: Refer): object {
  const rank = (operations: Record<string, Operation>) => tags.indexOf(String(Object.values(operations)[0]?.tags[0]))
  return Object.fromEntries(Object.entries(paths)
    .sort(([, one], [, other]) => rank(one) - rank(other))
    .map(([path, operations]) => [path, Object.fromEntries(methods
      .filter(method => Object.hasOwn(operations, method))
      .map(method => [method, finished(operations[method] as Operation, method === 'head', refer)]))]))
}

function finished (operation: Operation, isHead: boolean, refer: Refer): object {
  const { operationId, tags, summary, description, requestBody, security, responses } = operation
  const parameters = parametersOf(operation)
  return {
    // The plugin adds a suffix in case HEAD shares its schema with GET.
    operationId: operationId.replace(/-head$/, ''),
    tags,
    summary,
    description,
    ...parameters.length > 0 && { parameters: parameters.map(refer) },
    ...requestBody !== undefined && { requestBody },
    ...security !== undefined && { security },
    responses: {
      ...Object.fromEntries(Object.entries(responses).map(([status, { headers, ...response }]) =>
        [status, { ...response, headers: headerRefs(Object.keys(headers) as HeaderName[]) }])),
      ...sharedResponses(operation[statusesExtension], isHead)
    }
  }
}

/** Returns the parameters of an operation: those of the path first, and headers as the RFCs spell them. */
function parametersOf ({ parameters = [] }: Operation): Parameter[] {
  return parameters
    .map(({ name, in: place, required, description, schema, example }) => ({
      name: place === 'header' ? name.replace(/\b[a-z]/g, letter => letter.toUpperCase()) : name,
      in: place,
      ...required === true && { required },
      ...description !== undefined && { description },
      schema,
      ...example !== undefined && { example }
    }))
    .sort((one, other) => places.indexOf(one.in) - places.indexOf(other.in))
}

/** Returns the name of a shared parameter. Some generators have one name space for parameters and schemas. */
function nameOf ({ name }: Parameter): string {
  return `${componentNameOf(name)}Parameter`
}

/** Finds the parameters that several operations have. They become components. */
export function createParameters (paths: Paths): { components: object, refer: Refer } {
  const counts = new Map<string, number>()
  const all = Object.values(paths).flatMap(operations => Object.values(operations)).flatMap(parametersOf)
  for (const each of all) counts.set(JSON.stringify(each), (counts.get(JSON.stringify(each)) ?? 0) + 1)
  const isShared = (parameter: Parameter) => Number(counts.get(JSON.stringify(parameter))) > 1
  const shared = new Map<string, Parameter>()
  for (const each of all.filter(isShared)) {
    const name = nameOf(each)
    const earlier = shared.get(name)
    if (earlier !== undefined && JSON.stringify(earlier) !== JSON.stringify(each)) {
      throw new Error(`two shared parameters have the name ${name}`)
    }
    shared.set(name, each)
  }
  return {
    components: Object.fromEntries(shared),
    refer: parameter => isShared(parameter)
      ? { $ref: `#/components/parameters/${nameOf(parameter)}` }
      : parameter
  }
}
