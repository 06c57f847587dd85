import { readConfig } from '../src/config/config.ts'
import { ConfigError } from '../src/config/environment.ts'

/**
 * Returns the names of the variables that readConfig reads, without the file forms of others. COS_CREDENTIALS_FILE is a
 * variable of its own.
 */
export function variablesRead (): Set<string> {
  const names: string[] = []
  const environment = new Proxy<Record<string, string>>({}, {
    get (_, name) {
      names.push(String(name))
      // Variables of traces are only read when there is an endpoint.
      return name === 'OTEL_EXPORTER_OTLP_ENDPOINT' ? 'http://127.0.0.1' : undefined
    }
  })
  try {
    readConfig(environment)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
  }
  const fileForms = new Set(names.filter(name => name !== 'COS_CREDENTIALS').map(name => `${name}_FILE`))
  // Proxy variables also have lower-case names.
  return new Set(names.filter(name => !fileForms.has(name) && name === name.toUpperCase()))
}
