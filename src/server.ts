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

/** Runs the process. Exits with 0 after a stop, and with 1 if it cannot start. */
async function main (): Promise<void> {
  // V8 allocates long-lived objects in the old generation. With many requests in flight their objects look long-lived,
  // and only mark-compact frees them. NODE_OPTIONS does not accept this flag. A V8 without it prints a warning and
  // continues.
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
    // A full buffer would drop the line.
    outputs.stdout.drain()
    logger.fatal(loggableError(error), 'unexpected error, exiting')
    abort()
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  // Listeners of signals come first: a signal can arrive as soon as the port is open.
  const starting = startService(config, logger, outputs).catch((error: unknown) => exit(logger, error))

  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) abort()
    stopping = true
    logger.info({ signal }, 'stopping')
    void starting.then(service => service.stop()).then(inTime => {
      if (!inTime) logger.warn({ graceMs: config.shutdownGraceMs }, 'grace period ended, requests were aborted')
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
    printAndExit(error as ConfigError)
  }
}

/** Returns the loggable part of an error. Other properties can contain bytes of a response, and so a signature. */
function loggableError (error: unknown): object {
  const { name, code, stack } = (error ?? {}) as Partial<NodeJS.ErrnoException>
  return { error: { name, code, stack } }
}

function printAndExit ({ message }: ConfigError): never {
  console.error(message)
  process.exit(1)
}

function exit (logger: Logger, error: unknown): never {
  if (error instanceof ConfigError) printAndExit(error)
  const { code, message } = error as NodeJS.ErrnoException
  logger.fatal({ code, cause: message }, 'cannot start')
  process.exit(1)
}

await main()
