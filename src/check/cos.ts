import type { Logger } from 'pino'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import type { Config } from '../config/config.ts'
import { createAddressBook, serviceAddress } from '../cos/client/endpoints.ts'
import { cosContext, cosTime } from '../cos/client/response-headers.ts'
import { createFetcher } from '../outbound/fetch-json.ts'
import { untraced } from '../tracing/tracing.ts'
import { createCosClient } from '../upstream.ts'
import type { CosClient } from '../upstream.ts'
import { userAgent } from '../version.ts'
import { checkClock } from './clock.ts'
import { checkConnection, checkDns, firstHop } from './connection.ts'
import { isUnreachable, textOf } from './cos-failure.ts'
import { reportTo } from './finding.ts'
import type { Finding } from './finding.ts'

/** The bucket of the signed call, and its region if that is not the configured one. */
export interface Target {
  bucket: string | undefined
  region: string | undefined
}

/** Longest time for the signed calls, in milliseconds. `COS_DEADLINE_MS` can be shorter. */
const longestDeadlineMs = 15_000

const ignore = (): void => {}
const noMetrics = {
  attempted: ignore, called: ignore, retried: ignore, retryDenied: ignore, waited: ignore, shed: ignore
}

/**
 * Checks the way to COS, the clock and the credentials. The signed call is LIST of the inventories of a bucket: that of
 * the target, else a configured one. With region discovery and without a bucket it is GET Service.
 */
export async function checkCos (
  { cos: configured, reports }: Config, target: Target, findings: Finding[], log: Logger
): Promise<void> {
  const config = { ...configured, deadlineMs: Math.min(configured.deadlineMs, longestDeadlineMs) }
  const [firstBucket] = [...config.bucketRegions.keys(), ...reports.watched.map(({ bucket }) => bucket)]
  const bucket = target.bucket ?? firstBucket
  const skews: number[] = []
  const cos = createClient(config, log, skew => { skews.push(skew) })
  try {
    if (bucket === undefined && !config.regionDiscovery) await checkSource(cos, findings)
    else {
      await checkCalls(config, { bucket, region: target.region }, cos, findings)
      checkClock(skews[0], cos.clock.skewMs() !== 0, reportTo(findings, 'clock'))
    }
  } finally {
    cos.credentials.close()
    await cos.transport.close()
  }
}

/** Creates the client of the service. Each response of COS reports COS's clock minus the clock of this machine. */
function createClient (config: Config['cos'], log: Logger, onSkew: (skewMs: number) => void): CosClient {
  const { now } = Date
  return createCosClient(config, {
    fetcher: createFetcher(config.proxies),
    log,
    metrics: noMetrics,
    now,
    steadyNow: () => performance.now(),
    userAgent,
    maxStreams: undefined,
    onResponse (response) {
      const time = cosTime(response, cosContext(response))
      if (time !== undefined) onSkew(time - now())
    }
  })
}

/** Checks that the source has credentials, when no bucket is known that could be listed with them. */
async function checkSource ({ credentials }: CosClient, findings: Finding[]): Promise<void> {
  const report = reportTo(findings, 'credentials')
  await credentials.start()
  const reason = credentials.unavailableReason()
  if (reason === undefined) report.warning('COS was not called, because no bucket is configured. Name one with --bucket.')
  else report.error(`There are no credentials: ${reason}.`)
}

async function checkCalls (
  config: Config['cos'], target: Target, cos: CosClient, findings: Finding[]
): Promise<void> {
  const report = reportTo(findings, 'credentials')
  const { bucket, region } = target
  const known = bucket === undefined ? undefined : cos.regions.known(bucket, region)
  if (known === undefined && !config.regionDiscovery) {
    report.error(`No region is known for ${bucket}. Set COS_REGION or COS_BUCKET_REGIONS, or add --region.`)
    return
  }
  const address = bucket === undefined || known === undefined
    ? serviceAddress(config)
    : createAddressBook(config)(bucket, known)
  const hop = firstHop(config, address)
  const isReachable = await checkDns(hop, reportTo(findings, 'dns')) &&
    await checkConnection(hop, reportTo(findings, 'connection'))
  const call = { ...target, action: 'cos:GetService', host: address.host, source: config.credentials.source }
  try {
    report.ok(`COS accepts the credentials: ${await makeCalls(cos, call, performance.now() + config.deadlineMs)}.`)
  } catch (error) {
    // The finding of the connection names the cause. With NO_PROXY the call may succeed without that connection.
    if (!isReachable && isUnreachable(error)) report.warning('Not checked, because COS cannot be reached.')
    else report.error(textOf(error, call))
  }
}

/** Makes the signed calls and returns what they did. `call` names the call that failed if one does. */
async function makeCalls (cos: CosClient, call: Target & { action: string }, deadlineAt: number): Promise<string> {
  const { bucket } = call
  const context = { log: { debug: ignore }, trace: untraced, signal: new CancelSource(), tally: { attempts: 0 } }
  if (bucket === undefined) return `GET Service listed ${(await cos.listBuckets(context)).size} buckets`
  call.region = (await cos.regions.resolve(bucket, call.region, { ...context, deadlineAt })).region
  call.action = 'cos:GetBucketInventory and cos:ListBucketInventory'
  await cos.inventories.list({ ...context, bucket, region: call.region, deadlineAt })
  return `LIST of the inventories of ${bucket} (${call.region}) succeeded`
}
