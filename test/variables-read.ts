import { readConfig } from '../src/config/config.ts'
import { ConfigError } from '../src/config/environment.ts'

/**
 * Returns the names of the variables that readConfig reads, without the file forms of others. COS_CREDENTIALS_FILE is a
 * variable of its own.
 */
export function variablesRead (): Set<string> {
  const asked: string[] = []
  const environment = new Proxy<Record<string, string>>({}, {
    get (_, name) {
      asked.push(String(name))
      // Without an endpoint the other variables of traces are not read.
      return name === 'OTEL_EXPORTER_OTLP_ENDPOINT' ? 'http://127.0.0.1' : undefined
    }
  })
  try {
    readConfig(environment)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
  }
  const fileForms = new Set(asked.filter(name => name !== 'COS_CREDENTIALS').map(name => `${name}_FILE`))
  // The lower-case names of proxies are other spellings.
  return new Set(asked.filter(name => !fileForms.has(name) && name === name.toUpperCase()))
}
