/**
 * The listener of the service. The health check starts every few seconds and needs nothing else of the configuration,
 * so this module imports as little as possible.
 */
import { ConfigError, VariableReader } from './variable-reader.ts'
import type { Environment } from './variable-reader.ts'
import { integer, path } from './variable-types.ts'
import type { Variables, VariableType } from './variable-types.ts'

/** An address or a host name to listen on. */
const host: VariableType<string> = {
  label: 'address or host name',
  // For this name Fastify would listen on two addresses with two servers, and configure only the first one completely.
  parse: text => text === 'localhost' ? '127.0.0.1' : text
}

/** A port of this machine. */
export const port = integer(0, 65_535)

/** Where the service listens, and its certificate. */
export const listener = {
  HOST: { type: host, default: '127.0.0.1', description: 'Address to listen on. The container image sets `0.0.0.0`.' },
  PORT: { type: port, default: '8080', description: 'Port to listen on. `0` selects a free port.' },
  TLS_CERT_FILE: {
    type: path,
    description: 'PEM file with the certificate chain. The service speaks TLS 1.2 or newer and reloads the file ' +
      'when it changes.'
  },
  TLS_KEY_FILE: {
    type: path,
    description: 'PEM file with the private key. `TLS_CERT_FILE` and `TLS_KEY_FILE` need each other.'
  },
  TLS_CLIENT_CA_FILE: {
    type: path,
    description: 'PEM file with certificate authorities. Each client needs a certificate that one of them issued.'
  }
} satisfies Variables

/** Paths of PEM files. */
export interface TlsConfig {
  certFile: string
  keyFile: string
  /** Client certificates are required, and one of these authorities must have issued them. */
  clientCaFile: string | undefined
}

/** The listener of the service, and its TLS files. */
export interface Listener {
  host: string
  port: number
  tls: TlsConfig | undefined
}

/**
 * Reads HOST, PORT and the TLS variables only. Processes beside the service use it, because they need no secret.
 *
 * @throws {ConfigError} with every configuration error of these variables
 */
export function readListener (environment: Environment): Listener {
  const reader = new VariableReader(listener, environment)
  const result = readListenerFrom(reader)
  if (reader.issues.length > 0) throw new ConfigError(reader.issues)
  return result
}

/** Reads the same variables and adds their configuration errors to those of the reader. */
export function readListenerFrom (reader: Pick<VariableReader<typeof listener>, 'read' | 'issues'>): Listener {
  return { host: reader.read('HOST'), port: reader.read('PORT'), tls: readTls(reader) }
}

function readTls (reader: Pick<VariableReader<typeof listener>, 'read' | 'issues'>): TlsConfig | undefined {
  const certFile = reader.read('TLS_CERT_FILE')
  const keyFile = reader.read('TLS_KEY_FILE')
  const clientCaFile = reader.read('TLS_CLIENT_CA_FILE')
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, clientCaFile }
  if ([certFile, keyFile, clientCaFile].some(each => each !== undefined)) {
    reader.issues.push('TLS_CERT_FILE and TLS_KEY_FILE are needed together, and TLS_CLIENT_CA_FILE needs both')
  }
  return undefined
}
