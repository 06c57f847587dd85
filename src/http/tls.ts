import { X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import type { TlsConfig } from '../config.ts'
import { readRegularFile } from '../regular-file.ts'

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
 * @throws {Error} when a file cannot be read, is not PEM, or certificate and key do not belong together
 */
export function readTls ({ certFile, keyFile, clientCaFile }: TlsConfig): TlsOptions {
  const options = {
    cert: readRegularFile(certFile),
    key: readRegularFile(keyFile),
    ...(clientCaFile === undefined ? {} : { ca: readAuthorities(clientCaFile) }),
    requestCert: clientCaFile !== undefined,
    rejectUnauthorized: clientCaFile !== undefined,
    handshakeTimeout: handshakeTimeoutMs
  }
  createSecureContext(options)
  return options
}

/** Every certificate is looked at: what is none would be left out without a word, and its clients with it. */
function readAuthorities (path: string): string {
  const pem = readRegularFile(path)
  const blocks = pem.split(/(?=-----BEGIN )/).filter(block => block.trim() !== '')
  if (blocks.length === 0) throw new Error('there is no certificate of an authority')
  for (const block of blocks) new X509Certificate(block).toString()
  return pem
}

/**
 * Lets certificates be replaced while the server runs. New connections see what the files hold now. Open ones go on,
 * unless the authorities have changed: then each ends with the answer it is waiting for.
 *
 * @returns reads the files again. It throws as {@link readTls} does, changing nothing
 */
export function addTlsRenewal (app: FastifyInstance, config: TlsConfig, options: TlsOptions): () => void {
  const server = app.server as unknown as Server
  const open = new Set<Socket>()
  const outdated = new WeakSet<Socket>()
  let present = options
  server.on('secureConnection', socket => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  app.addHook('onSend', async (request, reply) => {
    if (outdated.has(request.raw.socket)) reply.header('connection', 'close')
  })
  return () => {
    const renewed = readTls(config)
    server.setSecureContext(renewed)
    if (renewed.ca !== present.ca) {
      for (const socket of open) outdated.add(socket)
      server.closeIdleConnections()
    }
    present = renewed
  }
}

/** Handshakes that fail are nobody's request: they leave a line for whoever looks for a reason. */
export function logFailedHandshakes (app: FastifyInstance): void {
  app.server.on('tlsClientError', ({ code }: Error & { code?: string }, { remoteAddress }: { remoteAddress?: string }) => {
    app.log.debug({ code, address: remoteAddress }, 'no TLS connection')
  })
}
