/** Wires the parts that call COS. */
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import { createAccounts } from './cos/accounts.ts'
import { isBucketAndRegion } from './config/formats.ts'
import type { CallObserver } from './cos/client/call-observer.ts'
import { createCosClock } from './cos/client/clock.ts'
import { createConcurrencyLimiter } from './cos/client/concurrency-limiter.ts'
import type { CosResponse } from './cos/client/messages.ts'
import { createAttempts } from './cos/client/retry.ts'
import { createRetryBudget } from './cos/client/retry-budget.ts'
import { createTransport } from './cos/client/transport.ts'
import type { Transport } from './cos/client/transport.ts'
import { createCredentialSource } from './cos/credentials/source.ts'
import { createInventories } from './cos/inventories.ts'
import { createReportObjects } from './cos/report-objects.ts'
import { createBucketList } from './cos/regions/bucket-list.ts'
import { createRegions } from './cos/regions/regions.ts'
import type { Reloader } from './files/reload.ts'
import type { Metrics } from './metrics.ts'
import type { Fetcher } from './outbound/fetch-json.ts'

interface Dependencies {
  fetcher: Fetcher
  log: Logger
  metrics: CallObserver & Pick<Metrics, 'shed'>
  /** Wall clock, in milliseconds since 1970. */
  now: () => number
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
  userAgent: string
  /** Watches the accounts file and the files of credentials. */
  watch: Reloader['watch']
  /** Streams of data files at once; undefined while reports are disabled. */
  maxStreams: number | undefined
  /** Sees each whole response of COS, before its call ends. */
  onResponse?: (response: CosResponse) => void
}

/** The parts that call COS. */
export type CosClient = ReturnType<typeof createCosClient>

/**
 * Creates the client of COS with its accounts, limits and regions. It sends no request yet.
 *
 * @throws {ConfigError} with every issue of the accounts file
 */
export function createCosClient (
  config: Config['cos'], { fetcher, log, metrics, now, steadyNow, userAgent, watch, maxStreams, onResponse }: Dependencies
) {
  const clock = createCosClock({ now, steadyNow, log })
  const { maxConcurrency, maxConnections: maxPerHost, queueLimit, timeoutMs: maxWaitMs } = config
  const limiter = createConcurrencyLimiter(
    { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }, { now: steadyNow, onRejection: metrics.shed })
  const transport = createTransport(config, { now: steadyNow, clock, userAgent, maxStreams })
  const budget = createRetryBudget(steadyNow)
  const dependencies = { limiter, budget, clock, observer: metrics, now: steadyNow }
  const attempts = createAttempts(config, {
    ...dependencies, transport: onResponse === undefined ? transport : observed(transport, onResponse)
  })
  // A permit is given back when the head of a stream has arrived.
  const streams = createAttempts(config, { ...dependencies, transport: { send: transport.open } })
  const accounts = createAccounts({
    createSource: source => createCredentialSource(source, now, fetcher),
    createBucketList: credentials =>
      createBucketList(config, { attempts, credentials, now: steadyNow, isBucketAndRegion }),
    logOf: account => log.child({ account }),
    now,
    steadyNow,
    watch
  })
  const { file, read } = config.accounts
  if (file !== undefined) watch('COS_ACCOUNTS_FILE', [file], () => { accounts.update(read()) })
  accounts.update(read())
  const credentialsOf = (bucket: string) => accounts.of(bucket).credentials
  const regions = createRegions(config, { accounts })
  const inventories = createInventories(config, { attempts, credentialsOf })
  const reportObjects = createReportObjects(config, { attempts, streams, credentialsOf })
  return { accounts, clock, limiter, transport, attempts, regions, inventories, reportObjects }
}

function observed ({ send }: Transport, onResponse: (response: CosResponse) => void): Pick<Transport, 'send'> {
  return {
    async send (request) {
      const response = await send(request)
      onResponse(response)
      return response
    }
  }
}
