import type { Config } from './config.ts'

/** Returns the names of the optional features that a configuration enables. They contain no value of a variable. */
export function featuresOf (config: Config): string[] {
  const { auth, cos, rateLimit, reports, tls } = config
  const enabled: Record<string, boolean> = {
    tls: tls !== undefined,
    'client-certificates': tls?.clientCaFile !== undefined,
    jwt: auth !== 'none' && auth.jwt !== undefined,
    'rate-limit': rateLimit.perMinute > 0,
    redis: rateLimit.redisUrl !== undefined,
    'trusted-proxies': config.trustedProxies.length > 0,
    'read-only': config.readOnly,
    'accounts-file': cos.accounts.file !== undefined,
    'region-discovery': cos.regionDiscovery,
    'connect-to': cos.connectTo !== undefined,
    'outbound-proxy': (cos.proxies.http ?? cos.proxies.https) !== undefined,
    reports: reports.isEnabled,
    'reports-watch': reports.watched.length > 0,
    'metrics-port': config.metricsPort !== undefined,
    'audit-file': !['stdout', 'stderr'].includes(config.auditLog),
    traces: config.traces !== undefined
  }
  return Object.keys(enabled).filter(name => enabled[name])
}
