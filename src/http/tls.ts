import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:https'
import { createSecureContext } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import type { TlsConfig } from '../config.ts'

/** What a server needs to speak TLS: PEM texts, and whether clients must show a certificate. */
export interface TlsOptions {
  cert: Buffer
  key: Buffer
  ca?: Buffer
  requestCert: boolean
  rejectUnauthorized: boolean
  handshakeTimeout: number
}

/** A client that takes longer to shake hands holds a socket for nothing. */
const handshakeTimeoutMs = 10_000

/**
 * Reads certificate, key and the authority of clients. TLS 1.2 is the oldest version Node takes.
 *
 * @throws {Error} when a file cannot be read, is not PEM, or certificate and key do not belong together
 */
export function readTls ({ certFile, keyFile, clientCaFile }: TlsConfig): TlsOptions {
  const options = {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    ...(clientCaFile === undefined ? {} : { ca: readFileSync(clientCaFile) }),
    requestCert: clientCaFile !== undefined,
    rejectUnauthorized: clientCaFile !== undefined,
    handshakeTimeout: handshakeTimeoutMs
  }
  createSecureContext(options)
  // What is no certificate would be taken for an authority that has signed none.
  if (options.ca !== undefined) new X509Certificate(options.ca).toString()
  return options
}

/**
 * New connections see what the files hold now; open ones go on.
 *
 * @throws {Error} as {@link readTls}, changing nothing
 */
export function renewTls (app: FastifyInstance, config: TlsConfig): void {
  const { cert, key, ca } = readTls(config)
  const server = app.server as unknown as Server
  server.setSecureContext({ cert, key, ...(ca === undefined ? {} : { ca }) })
}

/** Handshakes that fail are nobody's request: they leave a line for whoever looks for a reason. */
export function logFailedHandshakes (app: FastifyInstance): void {
  app.server.on('tlsClientError', ({ code }: Error & { code?: string }, { remoteAddress }: { remoteAddress?: string }) => {
    app.log.debug({ code, address: remoteAddress }, 'no TLS connection')
  })
}
