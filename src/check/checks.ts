import type { Logger } from 'pino'
import { pino } from 'pino'
import { withTimeout } from '../concurrency/with-timeout.ts'
import { readConfigAndIssues } from '../config/config.ts'
import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/environment.ts'
import type { Environment } from '../config/environment.ts'
import { logWarnings } from '../logging/warnings.ts'
import { checkAuditLog } from './audit-log.ts'
import { checkCallers } from './callers.ts'
import { checkCertificate } from './certificate.ts'
import { checkCos } from './cos.ts'
import type { Target } from './cos.ts'
import { reportTo } from './finding.ts'
import type { Finding, Report } from './finding.ts'
import { checkIssuer } from './issuer.ts'
import { checkRedis } from './redis.ts'

/** A check that needs no result of others. */
export interface Check {
  name: string
  /** Finds the variables of the check in the text of a configuration error. */
  variables: RegExp
  run (config: Config, target: Target, findings: Finding[], log: Logger): void | Promise<void>
}

const checks: Check[] = [
  {
    name: 'callers',
    variables: /\b(AUTH|CALLERS_FILE|JWT_\w+)\b/,
    run: (config, _, findings, log) => checkCallers(config, reportTo(findings, 'callers'), log)
  },
  {
    name: 'issuer',
    variables: /\bJWT_/,
    run: ({ auth, cos }, _, findings) => checkIssuer(auth, cos.proxies, reportTo(findings, 'issuer'))
  },
  {
    name: 'audit',
    variables: /\bAUDIT_LOG\b/,
    run: ({ auditLog }, _, findings) => { checkAuditLog(auditLog, reportTo(findings, 'audit')) }
  },
  {
    name: 'certificate',
    variables: /\bTLS_/,
    run: ({ tls }, _, findings) => { checkCertificate(tls, reportTo(findings, 'certificate'), Date.now()) }
  },
  {
    name: 'credentials',
    variables: /\b(COS|HTTPS?|METADATA|NO|REPORTS|STS|TKE)_/i,
    run: checkCos
  },
  {
    name: 'redis',
    variables: /REDIS_URL/,
    run: ({ rateLimit: { redisUrl } }, _, findings, log) => checkRedis(redisUrl, reportTo(findings, 'redis'), log)
  }
]

/** Longest time of a check, in milliseconds. All checks start together. */
const longestMs = 30_000

/**
 * Checks the configuration and everything that it names. A check whose variables are invalid is left out; all others
 * run.
 *
 * @param all the checks
 * @param limitMs longest time of each check, in milliseconds
 */
export async function * runChecks (
  environment: Environment, target: Target, { all = checks, limitMs = longestMs } = {}
): AsyncGenerator<Finding> {
  const { config, issues } = readConfigAndIssues(environment)
  const log = pino({ level: 'silent' })
  const started = all.map(check =>
    findingsOf(check, issues, limitMs, findings => check.run(config, target, findings, log)))
  const configuration: Finding[] = []
  checkConfiguration(config, issues, reportTo(configuration, 'configuration'))
  yield * configuration
  for (const each of started) yield * await each
}

function checkConfiguration (config: Config, issues: string[], report: Report): void {
  for (const issue of issues) report.error(`${issue}.`)
  if (issues.length > 0) return
  const warnings: string[] = []
  logWarnings(config, [], { warn: (...line: unknown[]) => { warnings.push(textOf(line)) } })()
  for (const warning of warnings) report.warning(`${warning}.`)
  report.ok('All variables are valid.')
}

/** Returns a line of the log as a text: the message with a capital letter, then the fields. */
function textOf (line: unknown[]): string {
  const [fields, message] = line.length === 1 ? [{}, line[0]] : line
  const text = String(message)
  const pairs = Object.entries(fields as object).map(([name, value]) => `${name}=${String(value)}`)
  return text.charAt(0).toUpperCase() + text.slice(1) + (pairs.length === 0 ? '' : ` (${pairs.join(', ')})`)
}

/** Runs a check. Its errors and a timeout are findings. */
async function findingsOf (
  { name, variables }: Check, issues: string[], limitMs: number, run: (findings: Finding[]) => void | Promise<void>
): Promise<Finding[]> {
  const findings: Finding[] = []
  const report = reportTo(findings, name)
  if (issues.some(issue => variables.test(issue))) {
    report.warning('Not checked, because a variable of this check is invalid.')
    return findings
  }
  try {
    await withTimeout((async () => { await run(findings) })(), limitMs, () => {
      report.error(`There is no result within ${limitMs / 1000} s.`)
    })
  } catch (error) {
    // The message of another error can contain a secret.
    const texts = error instanceof ConfigError ? error.issues : [`Unexpected error (${nameOf(error)})`]
    for (const text of texts) report.error(`${text}.`)
  }
  return [...findings]
}

function nameOf (error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException
  return code ?? name
}
