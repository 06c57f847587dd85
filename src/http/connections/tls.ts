import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import { createSecureContext } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import type { TlsConfig } from '../../config/config.ts'
import { ConfigError } from '../../config/environment.ts'
import { readTextFile } from '../../files/text-file.ts'
import type { ConnectionRegistry } from './connection-registry.ts'

/** TLS options of a server. Certificates and key are PEM texts. */
export interface TlsOptions {
  cert: string
  key: string
  ca?: string
  requestCert: boolean
  rejectUnauthorized: boolean
  handshakeTimeout: number
}

/** Certificates that are replaced while the server runs. */
export interface TlsRenewal {
  /** Reads the files again. Throws as {@link readTls} does, and then changes nothing. */
  reload (): void
  /** Returns when the first certificate of the chain expires, in milliseconds since 1970. */
  expiresAt (): number
}

/** Time for a handshake. A slower client would occupy a socket for nothing. */
const handshakeTimeoutMs = 10_000

/**
 * Reads the certificate, the key and the client certificate authorities. TLS 1.2 is the oldest version that Node
 * accepts.
 *
 * @throws {ConfigError} if a file cannot be read or is not PEM, or certificate and key do not match
 * @throws {Error} of OpenSSL if it considers them too weak
 */
export function readTls ({ certFile, keyFile, clientCaFile }: TlsConfig): TlsOptions {
  const cert = readPem('TLS_CERT_FILE', certFile, text => new X509Certificate(text))
  const key = readPem('TLS_KEY_FILE', keyFile, createPrivateKey)
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new ConfigError(['TLS_CERT_FILE and TLS_KEY_FILE do not match'])
  }
  const options = {
    cert,
    key,
    ...(clientCaFile === undefined ? {} : { ca: readPem('TLS_CLIENT_CA_FILE', clientCaFile, checkAuthorities) }),
    requestCert: clientCaFile !== undefined,
    rejectUnauthorized: clientCaFile !== undefined,
    handshakeTimeout: handshakeTimeoutMs
  }
  // Throws other errors of OpenSSL, such as a key that is too short.
  createSecureContext(options)
  return options
}

function readPem (name: string, path: string, check: (pem: string) => unknown): string {
  let pem: string
  try {
    pem = readTextFile(path)
  } catch (error) {
    // The message of the file system contains the path.
    throw new ConfigError([`${name} cannot be read: ${(error as NodeJS.ErrnoException).code}`])
  }
  try {
    check(pem)
  } catch {
    // The message of OpenSSL does not help an operator.
    throw new ConfigError([`${name} must contain unencrypted PEM of the right kind`])
  }
  return pem
}

/**
 * Returns the certificates of a PEM text in their order. Other blocks, such as a key, are ignored. The labels are all
 * that OpenSSL accepts.
 *
 * @throws {Error} of OpenSSL for a malformed certificate
 */
export function certificatesIn (pem: string): X509Certificate[] {
  return blocksIn(pem).filter(block => /^-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/.test(block))
    .map(block => new X509Certificate(block))
}

function blocksIn (pem: string): string[] {
  return pem.split(/(?=-----BEGIN )/).filter(block => block.startsWith('-----BEGIN '))
}

/** Checks every certificate. Node would skip a malformed one without an error, and reject its clients. */
function checkAuthorities (pem: string): void {
  const blocks = blocksIn(pem)
  for (const block of blocks.length === 0 ? [''] : blocks) new X509Certificate(block).toString()
}

/**
 * Replaces certificates while the server runs. New connections use the current files. Open connections continue, unless
 * the client certificate authorities have changed. Then each connection ends after its responses in flight.
 */
export function addTlsRenewal (
  app: FastifyInstance, config: TlsConfig, options: TlsOptions, connections: ConnectionRegistry
): TlsRenewal {
  const server = app.server as unknown as Server
  let present = options
  let expiresAt = firstExpiry(options.cert)
  return {
    reload () {
      const renewed = readTls(config)
      server.setSecureContext(renewed)
      if (renewed.ca !== present.ca) connections.closeAfterResponses()
      present = renewed
      expiresAt = firstExpiry(renewed.cert)
    },
    expiresAt: () => expiresAt
  }
}

/** Returns when the first certificate of a chain expires, in milliseconds since 1970. */
function firstExpiry (chain: string): number {
  return Math.min(...certificatesIn(chain).map(({ validTo }) => Date.parse(validTo)))
}

/** Closes connections whose handshake failed or took too long, and logs the reason at debug. */
export function closeFailedHandshakes ({ server, log }: Pick<FastifyInstance, 'server' | 'log'>): void {
  // This listener comes before that of Node, which emits clientError. A response before the handshake is never sent, so
  // that the connection would wait forever.
  server.prependListener('tlsClientError', ({ code }: Error & { code?: string }, socket: TLSSocket) => {
    log.debug({ code, address: socket.remoteAddress }, 'TLS handshake failed')
    socket.destroy()
  })
}
