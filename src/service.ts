import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import type { DestinationStream, Logger } from 'pino'
import { buildApp } from './app.ts'
import type { Config } from './config.ts'
import { createInventories } from './cos/inventories.ts'
import { createTransport } from './cos/transport.ts'
import { shutDown } from './http/shutdown.ts'
import type { Lifecycle } from './http/shutdown.ts'

/** A running service. */
export interface Service {
  app: FastifyInstance
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  url: string
  /** Stops as `SHUTDOWN_DELAY_MS` and `SHUTDOWN_GRACE_MS` say; gives whether every request had ended. */
  stop (): Promise<boolean>
}

/** This package's version. */
export const version = (JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8')
) as { version: string }).version

/** Where logs go: written at once, because lines still on their way when a process exits come out of order. */
export function syncStdout (): DestinationStream {
  return pino.destination({ dest: 1, sync: true })
}

/**
 * Wires the parts together and listens.
 *
 * @throws {Error} of the operating system when the address cannot be listened on, such as EADDRINUSE
 */
export async function startService (config: Config, logger: Logger): Promise<Service> {
  const now = Date.now
  const lifecycle: Lifecycle = { phase: 'serving' }
  const transport = createTransport(config.cos, {
    credentials: () => config.cos.credentials,
    now,
    userAgent: `cos-inventory-proxy/${version}`
  })
  const inventories = createInventories(config.cos, transport, now)
  const app = await buildApp({ inventories, lifecycle, logger, readOnly: config.readOnly, version })
  app.addHook('onClose', () => transport.close())
  const url = await app.listen({ host: config.host, port: config.port })
  logger.warn('AUTH=none: everyone who reaches this port may read and change inventories with its credentials')
  if (config.notInForce.length > 0) {
    logger.warn({ variables: config.notInForce }, 'these variables are set, but this version does not act on them')
  }
  const { shutdownDelayMs: delayMs, shutdownGraceMs: graceMs } = config
  return { app, url, stop: () => shutDown(app, lifecycle, { delayMs, graceMs }) }
}
