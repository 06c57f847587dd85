import type { Logger } from 'pino'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import type { Config } from '../config/config.ts'
import type { Account } from '../cos/accounts.ts'
import { createAddressBook, serviceAddress } from '../cos/client/endpoints.ts'
import { cosContext, cosTime } from '../cos/client/response-headers.ts'
import { createFetcher } from '../outbound/fetch-json.ts'
import { untraced } from '../tracing/tracing.ts'
import { createCosClient } from '../upstream.ts'
import type { CosClient } from '../upstream.ts'
import { userAgent } from '../version.ts'
import { checkClock } from './clock.ts'
import { checkConnection, checkDns, firstHop } from './connection.ts'
import type { Hop } from './connection.ts'
import { isUnreachable, textOf } from './cos-failure.ts'
import { reportTo } from './finding.ts'
import type { Finding, Report } from './finding.ts'

/** The bucket of the signed call, and its region if that is not the configured one. */
export interface Target {
  bucket: string | undefined
  region: string | undefined
}

/** The account to check, and its bucket if one is known. */
interface Subject extends Target {
  account: Account
  /** Names the account or the variable in a finding. */
  origin: string
}

/** Longest time for the signed calls, in milliseconds. `COS_DEADLINE_MS` can be shorter. */
const longestDeadlineMs = 15_000

const ignore = (): void => {}
const noMetrics = {
  attempted: ignore, called: ignore, retried: ignore, retryDenied: ignore, waited: ignore, shed: ignore
}

/**
 * Checks the way to COS, the clock and the credentials of each account. The signed call is LIST of the inventories of a
 * bucket of the account: that of the target, else a configured one. With region discovery and without a bucket it is
 * GET Service.
 *
 * @throws {ConfigError} with every issue of the accounts file
 */
export async function checkCos (
  { cos: settings, reports }: Config, target: Target, findings: Finding[], log: Logger
): Promise<void> {
  const config = { ...settings, deadlineMs: Math.min(settings.deadlineMs, longestDeadlineMs) }
  const skews: number[] = []
  const cos = createClient(config, log, skew => { skews.push(skew) })
  try {
    const configured = [...config.bucketRegions.keys(), ...reports.watched.map(({ bucket }) => bucket)]
    const targets = [target, ...configured.map(bucket => ({ bucket, region: undefined }))]
      .filter(({ bucket }) => bucket !== undefined)
    const subjects = subjectsOf(config, cos, targets)
    const reach = createReach()
    // All accounts are checked at once, so that together they take no longer than one.
    const checks = subjects.map(subject => checkAccount(config, subject, cos, reach))
    // A check that fails while an earlier one is awaited must not end the process.
    Promise.all(checks).catch(ignore)
    for (const each of checks) findings.push(...await each)
    reportStrangers(cos, targets, reportTo(findings, 'credentials'))
    if (subjects.some(subject => isCalled(config, subject))) {
      checkClock(skews[0], cos.clock.skewMs() !== 0, reportTo(findings, 'clock'))
    }
  } finally {
    cos.accounts.close()
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
    watch: () => ignore,
    maxStreams: undefined,
    onResponse (response) {
      const time = cosTime(response, cosContext(response))
      if (time !== undefined) onSkew(time - now())
    }
  })
}

/** Returns each account with the first of the targets that belongs to it. */
function subjectsOf ({ accounts: { file } }: Config['cos'], { accounts }: CosClient, targets: Target[]): Subject[] {
  return accounts.list().map(account => {
    const { bucket, region } = targets.find(each => accounts.find(String(each.bucket)) === account) ?? {}
    const { name, source } = account
    const origin = file === undefined ? `COS_CREDENTIALS=${source.name}` : `account ${name}, ${source.name}`
    return { account, bucket, region, origin }
  })
}

/** Reports buckets whose APPID has no account. */
function reportStrangers ({ accounts }: CosClient, targets: Target[], report: Report): void {
  const named = targets.map(({ bucket }) => String(bucket))
  const buckets = new Set(named.filter(bucket => accounts.find(bucket) === undefined))
  for (const bucket of buckets) {
    report.error(`COS_ACCOUNTS_FILE has no account for ${bucket}. Add its APPID or default, or correct the bucket.`)
  }
}

/** Tells whether a signed call is made for an account. */
function isCalled ({ regionDiscovery }: Config['cos'], { bucket }: Subject): boolean {
  return bucket !== undefined || regionDiscovery
}

/** Checks the way to a host, once for all accounts. Returns whether it is reachable. */
type Reach = (hop: Hop, findings: Finding[]) => Promise<boolean>

function createReach (): Reach {
  const known = new Map<string, Promise<boolean>>()
  return (hop, findings) => {
    const key = `${hop.host}:${hop.port}`
    const found = known.get(key) ?? (async () =>
      await checkDns(hop, reportTo(findings, 'dns')) && await checkConnection(hop, reportTo(findings, 'connection')))()
    known.set(key, found)
    return found
  }
}

/** Checks the credentials of an account with a signed call. Only loads them if no call is possible. */
async function checkAccount (
  config: Config['cos'], subject: Subject, cos: CosClient, reach: Reach
): Promise<Finding[]> {
  const findings: Finding[] = []
  const report = reportOf(config, subject, findings)
  if (isCalled(config, subject)) await checkCalls(config, subject, cos, { reach, findings, report })
  else await checkSource(subject, report)
  return findings
}

/** Returns a report whose findings begin with the name of the account, if there is an accounts file. */
function reportOf ({ accounts: { file } }: Config['cos'], { account }: Subject, findings: Finding[]): Report {
  const report = reportTo(findings, 'credentials')
  if (file === undefined) return report
  const named = (text: string) => `Account ${account.name}: ${text}`
  return {
    ok: text => { report.ok(named(text)) },
    warning: text => { report.warning(named(text)) },
    error: text => { report.error(named(text)) }
  }
}

/** Checks that the source has credentials, when no bucket is known that could be listed with them. */
async function checkSource ({ account: { credentials } }: Subject, report: Report): Promise<void> {
  await credentials.start()
  const reason = credentials.unavailableReason()
  if (reason === undefined) report.warning('COS was not called, because no bucket is configured. Name one with --bucket.')
  else report.error(`There are no credentials: ${reason}.`)
}

interface Findings {
  reach: Reach
  findings: Finding[]
  report: Report
}

async function checkCalls (
  config: Config['cos'], subject: Subject, cos: CosClient, { reach, findings, report }: Findings
): Promise<void> {
  const { bucket, region, origin } = subject
  const known = bucket === undefined ? undefined : cos.regions.known(bucket, region)
  if (known === undefined && !config.regionDiscovery) {
    report.error(`No region is known for ${bucket}. Set COS_REGION or COS_BUCKET_REGIONS, or add --region.`)
    return
  }
  const address = bucket === undefined || known === undefined
    ? serviceAddress(config)
    : createAddressBook(config)(bucket, known)
  const isReachable = await reach(firstHop(config, address), findings)
  const call = { ...subject, action: 'cos:GetService', host: address.host, origin }
  try {
    report.ok(`COS accepts the credentials: ${await makeCalls(cos, call, performance.now() + config.deadlineMs)}.`)
  } catch (error) {
    // The finding of the connection names the cause. With NO_PROXY the call may succeed without that connection.
    if (!isReachable && isUnreachable(error)) report.warning('Not checked, because COS cannot be reached.')
    else report.error(textOf(error, call))
  }
}

/** Makes the signed calls and returns what they did. `call` names the call that failed if one does. */
async function makeCalls (cos: CosClient, call: Subject & { action: string }, deadlineAt: number): Promise<string> {
  const { account, bucket } = call
  const context = { log: { debug: ignore }, trace: untraced, signal: new CancelSource(), tally: { attempts: 0 } }
  if (bucket === undefined) return `GET Service listed ${(await account.listBuckets(context)).size} buckets`
  call.region = (await cos.regions.resolve(bucket, call.region, { ...context, deadlineAt })).region
  call.action = 'cos:GetBucketInventory and cos:ListBucketInventory'
  await cos.inventories.list({ ...context, bucket, region: call.region, deadlineAt })
  return `LIST of the inventories of ${bucket} (${call.region}) succeeded`
}
