import './inspector-off.ts'
import { setFlagsFromString } from 'node:v8'
import { pino } from 'pino'
import type { Logger } from 'pino'
import { readConfig } from './config/config.ts'
import type { Config } from './config/config.ts'
import { ConfigError } from './config/environment.ts'
import { openOutputs } from './logging/log.ts'
import { startService } from './service.ts'
import type { Service } from './service.ts'

/** The process: environment in, exit code out. 0 after a stop, 1 when it cannot start. */
async function main (): Promise<void> {
  // V8 allocates in the old generation what seldom dies young. With many requests under way their objects look like
  // that, and only mark-compacts free them. NODE_OPTIONS does not take this; a V8 without it says so and goes on.
  setFlagsFromString('--no-allocation-site-pretenuring')
  const config = configOrExit()
  const outputs = await openOutputs()
  const logger = pino({ level: config.logLevel }, outputs.stdout)
  let running: Service | undefined
  const abort = (): never => {
    running?.cut()
    process.exit(1)
  }
  const crash = (error: unknown) => {
    // Makes room for the line, which a full buffer would drop.
    outputs.stdout.drain()
    logger.fatal(whatIsKnownOf(error), 'the service cannot go on')
    abort()
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  // Signals are listened to first: one can arrive as soon as somebody sees the port open.
  const starting = startService(config, logger, outputs).catch((error: unknown) => exit(logger, error))

  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) abort()
    stopping = true
    logger.info({ signal }, 'stopping')
    void starting.then(service => service.stop()).then(inTime => {
      if (!inTime) logger.warn({ graceMs: config.shutdownGraceMs }, 'requests under way were cut')
      logger.info('stopped')
      process.exit(0)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGUSR1', () => { logger.warn('SIGUSR1 ignored, the inspector stays off') })
  process.on('SIGHUP', () => { void starting.then(service => service.reload()) })
  await starting.then(service => { running = service })
}

function configOrExit (): Config {
  try {
    return readConfig(process.env)
  } catch (error) {
    sayFaults(error as ConfigError)
  }
}

/** Not its other properties, which can hold bytes of an answer, and so a signature. */
function whatIsKnownOf (error: unknown): object {
  const { name, code, stack } = (error ?? {}) as Partial<NodeJS.ErrnoException>
  return { error: { name, code, stack } }
}

function sayFaults ({ message }: ConfigError): never {
  console.error(message)
  process.exit(1)
}

function exit (logger: Logger, error: unknown): never {
  if (error instanceof ConfigError) sayFaults(error)
  const { code, message } = error as NodeJS.ErrnoException
  logger.fatal({ code }, `cannot start: ${message}`)
  process.exit(1)
}

await main()
