import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import { createSecureContext } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import type { TlsConfig } from '../../config/config.ts'
import { ConfigError } from '../../config/environment.ts'
import { readTextFile } from '../../files/text-file.ts'
import type { ConnectionRegistry } from './connection-registry.ts'

/** What a server needs to speak TLS: PEM texts, and whether clients must show a certificate. */
export interface TlsOptions {
  cert: string
  key: string
  ca?: string
  requestCert: boolean
  rejectUnauthorized: boolean
  handshakeTimeout: number
}

/** A client that takes longer to shake hands holds a socket for nothing. */
const handshakeTimeoutMs = 10_000

/**
 * Reads certificate, key and the authorities of clients. TLS 1.2 is the oldest version Node takes.
 *
 * @throws {ConfigError} when a file cannot be read, is not PEM, or certificate and key do not belong together
 * @throws {Error} of OpenSSL, when it takes them for too weak
 */
export function readTls ({ certFile, keyFile, clientCaFile }: TlsConfig): TlsOptions {
  const cert = readPem('TLS_CERT_FILE', certFile, text => new X509Certificate(text))
  const key = readPem('TLS_KEY_FILE', keyFile, createPrivateKey)
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new ConfigError(['TLS_CERT_FILE and TLS_KEY_FILE do not belong together'])
  }
  const options = {
    cert,
    key,
    ...(clientCaFile === undefined ? {} : { ca: readPem('TLS_CLIENT_CA_FILE', clientCaFile, checkAuthorities) }),
    requestCert: clientCaFile !== undefined,
    rejectUnauthorized: clientCaFile !== undefined,
    handshakeTimeout: handshakeTimeoutMs
  }
  // Says what else OpenSSL has against them, such as a key that is too short.
  createSecureContext(options)
  return options
}

function readPem (name: string, path: string, check: (pem: string) => unknown): string {
  let pem: string
  try {
    pem = readTextFile(path)
  } catch (error) {
    // The message of the file system has the path.
    throw new ConfigError([`${name} cannot be read: ${(error as NodeJS.ErrnoException).code}`])
  }
  try {
    check(pem)
  } catch {
    // The message of OpenSSL has nothing an operator could use.
    throw new ConfigError([`${name} does not hold what it must, in PEM and not encrypted`])
  }
  return pem
}

/** Every certificate is looked at: what is none would be left out without a word, and its clients with it. */
function checkAuthorities (pem: string): void {
  const blocks = pem.split(/(?=-----BEGIN )/).filter(block => block.startsWith('-----BEGIN '))
  for (const block of blocks.length === 0 ? [''] : blocks) new X509Certificate(block).toString()
}

/**
 * Lets certificates be replaced while the server runs. New connections use what the files contain now. Open ones go on,
 * unless the certificate authorities of clients have changed: then each ends with its responses in flight.
 *
 * @returns reads the files again. It throws as {@link readTls} does, and then changes nothing
 */
export function addTlsRenewal (
  app: FastifyInstance, config: TlsConfig, options: TlsOptions, connections: ConnectionRegistry
): () => void {
  const server = app.server as unknown as Server
  let present = options
  return () => {
    const renewed = readTls(config)
    server.setSecureContext(renewed)
    if (renewed.ca !== present.ca) connections.closeAfterResponses()
    present = renewed
  }
}

/** Closes connections whose handshake failed or took too long, and logs the reason at debug. */
export function closeFailedHandshakes ({ server, log }: Pick<FastifyInstance, 'server' | 'log'>): void {
  // Before Node's own listener, which emits clientError: a response written before the handshake is never sent, so the
  // connection would wait for it for ever.
  server.prependListener('tlsClientError', ({ code }: Error & { code?: string }, socket: TLSSocket) => {
    log.debug({ code, address: socket.remoteAddress }, 'TLS handshake failed')
    socket.destroy()
  })
}
