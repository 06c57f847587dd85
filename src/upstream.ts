/** Wires the parts that call COS. */
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import { isBucketAndRegion } from './config/formats.ts'
import type { CallObserver } from './cos/client/call-observer.ts'
import { createCosClock } from './cos/client/clock.ts'
import { createConcurrencyLimiter } from './cos/client/concurrency-limiter.ts'
import type { CosResponse } from './cos/client/messages.ts'
import { createAttempts } from './cos/client/retry.ts'
import { createRetryBudget } from './cos/client/retry-budget.ts'
import { createTransport } from './cos/client/transport.ts'
import type { Transport } from './cos/client/transport.ts'
import { createCredentialProvider } from './cos/credentials/provider.ts'
import { createCredentialSource } from './cos/credentials/source.ts'
import { createInventories } from './cos/inventories.ts'
import { createReportObjects } from './cos/report-objects.ts'
import { createBucketList } from './cos/regions/bucket-list.ts'
import { createRegions } from './cos/regions/regions.ts'
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
  /** Streams of data files at once; undefined while reports are disabled. */
  maxStreams: number | undefined
  /** Sees each whole response of COS, before its call ends. */
  onResponse?: (response: CosResponse) => void
}

/** The parts that call COS. */
export type CosClient = ReturnType<typeof createCosClient>

/** Creates the client of COS with its credentials, limits and regions. It sends no request yet. */
export function createCosClient (
  config: Config['cos'], { fetcher, log, metrics, now, steadyNow, userAgent, maxStreams, onResponse }: Dependencies
) {
  const source = createCredentialSource(config.credentials, now, fetcher)
  const credentials = createCredentialProvider(source, { now, steadyNow, log })
  const clock = createCosClock({ now, steadyNow, log })
  const { maxConcurrency, maxConnections: maxPerHost, queueLimit, timeoutMs: maxWaitMs } = config
  const limiter = createConcurrencyLimiter(
    { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }, { now: steadyNow, onRejection: metrics.shed })
  const transport = createTransport(config, { now: steadyNow, clock, userAgent, maxStreams })
  const budget = createRetryBudget(steadyNow)
  const dependencies = { limiter, budget, clock, credentials, observer: metrics, now: steadyNow }
  const attempts = createAttempts(config, {
    ...dependencies, transport: onResponse === undefined ? transport : observed(transport, onResponse)
  })
  // A permit is given back when the head of a stream has arrived.
  const streams = createAttempts(config, { ...dependencies, transport: { send: transport.open } })
  const listBuckets = createBucketList(config, { attempts, now: steadyNow, isBucketAndRegion })
  const regions = createRegions(config, { listBuckets, log, now: steadyNow })
  const inventories = createInventories(config, { attempts })
  const reportObjects = createReportObjects(config, { attempts, streams })
  return { source, credentials, clock, limiter, transport, attempts, listBuckets, regions, inventories, reportObjects }
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
