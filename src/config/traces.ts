import type { EnvironmentReader, VariableName } from './environment.ts'
import { traceProtocols } from './trace-variables.ts'
import { variables } from './variables.ts'

/** An encoding of OTLP over HTTP. */
export type TraceProtocol = typeof traceProtocols[number]

/** A variable whose value has a part that is not supported, and the value that the service uses instead. */
export interface UnsupportedValue {
  variable: VariableName
  used: string
}

const endpoints = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const
const batchSize = 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE'

/** Reads whether and how traces are exported. Checks the other variables of traces only when they are on. */
export function readTraces (
  reader: EnvironmentReader, unsupported: UnsupportedValue[]
): { protocol: TraceProtocol } | undefined {
  if (isSdkDisabled(reader, unsupported) || !isSelected(reader, 'OTEL_TRACES_EXPORTER', unsupported)) return undefined
  for (const name of endpoints) {
    if (reader.path(name) !== undefined) reader.issues.push(`${name}_FILE does nothing: the OpenTelemetry SDK reads ${name} itself`)
  }
  for (const name of [...endpoints, batchSize] as const) {
    if (reader.isExact(name)) continue
    reader.issues.push(`${name} must have neither quotation marks nor blanks around it: the OpenTelemetry SDK reads it itself`)
  }
  const isOn = endpoints.map(name => reader.read(name)).some(each => each !== undefined)
  if (!isOn) return undefined
  // The SDK would loop forever with a batch size of 0.
  reader.read(batchSize)
  return { protocol: readProtocol(reader, unsupported) }
}

/** Reads whether W3C Trace Context is read from requests and sent to COS. */
export function readPropagation (reader: EnvironmentReader, unsupported: UnsupportedValue[]): boolean {
  return isSelected(reader, 'OTEL_PROPAGATORS', unsupported)
}

/** Every value but true means false (OpenTelemetry specification, boolean values). */
function isSdkDisabled (reader: EnvironmentReader, unsupported: UnsupportedValue[]): boolean {
  const [value = 'false'] = reader.read('OTEL_SDK_DISABLED')
  if (!['true', 'false'].includes(value)) unsupported.push({ variable: 'OTEL_SDK_DISABLED', used: 'false' })
  return value === 'true'
}

function readProtocol (reader: EnvironmentReader, unsupported: UnsupportedValue[]): TraceProtocol {
  const [variable, value] = (['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const)
    .map(name => [name, reader.read(name)?.[0]] as const).find(([, value]) => value !== undefined) ?? []
  const [fallback] = traceProtocols
  if (variable === undefined) return fallback
  if (value === 'grpc') reader.issues.push(`${variable}=grpc is not supported: use ${traceProtocols.join(' or ')}`)
  const protocol = traceProtocols.find(each => each === value)
  if (protocol === undefined) unsupported.push({ variable, used: fallback })
  return protocol ?? fallback
}

/** Returns whether a list names the one supported value, which is the default. Ignores other names with a warning. */
function isSelected (
  reader: EnvironmentReader, variable: 'OTEL_TRACES_EXPORTER' | 'OTEL_PROPAGATORS', unsupported: UnsupportedValue[]
): boolean {
  const { default: supported } = variables[variable]
  const list = reader.read(variable)
  if (list.length === 0) return true
  const isNamed = list.includes(supported)
  const isOther = (name: string) => name !== supported && name !== 'none'
  if (list.some(isOther)) unsupported.push({ variable, used: isNamed ? supported : 'none' })
  return isNamed
}
