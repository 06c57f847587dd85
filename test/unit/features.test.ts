import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { featuresOf } from '../../src/config/features.ts'

const required = { AUTH: 'none', COS_SECRET_ID: 'AKIDx', COS_SECRET_KEY: 'x' }

t.test('featuresOf returns no name for the defaults with AUTH=none', async t => {
  t.strictSame(featuresOf(readConfig(required)), [])
})

t.test('featuresOf returns the name of each enabled feature', async t => {
  const jwt = { JWT_JWKS_URL: 'https://issuer.example/jwks', JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'a' }
  const tls = { TLS_CERT_FILE: '/c', TLS_KEY_FILE: '/k' }
  for (const [environment, expected] of [
    [{ AUTH: 'required', CALLERS_FILE: '/callers.json' }, ['rate-limit']],
    [{ AUTH: 'required', CALLERS_FILE: '/callers.json', RATE_LIMIT_PER_MINUTE: '0', ...jwt }, ['jwt']],
    [tls, ['tls']],
    [{ ...tls, TLS_CLIENT_CA_FILE: '/ca' }, ['tls', 'client-certificates']],
    [{ REDIS_URL: 'redis://redis' }, ['redis']],
    [{ TRUST_PROXY: '10.0.0.0/8' }, ['trusted-proxies']],
    [{ READ_ONLY: 'true' }, ['read-only']],
    [{ COS_REGION_DISCOVERY: 'true' }, ['region-discovery']],
    [{ COS_ACCOUNTS_FILE: '/accounts.json' }, ['accounts-file']],
    [{ COS_CONNECT_TO: 'emulator:9000' }, ['connect-to']],
    [{ HTTP_PROXY: 'http://proxy:3128' }, ['outbound-proxy']],
    [{ HTTPS_PROXY: 'http://proxy:3128' }, ['outbound-proxy']],
    [{ REPORTS: 'true' }, ['reports']],
    [{ REPORTS: 'true', REPORTS_WATCH: 'b-1250000000/*' }, ['reports', 'reports-watch']],
    [{ METRICS_PORT: '9091' }, ['metrics-port']],
    [{ AUDIT_LOG: 'stderr' }, []],
    [{ AUDIT_LOG: '/var/log/audit' }, ['audit-file']],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, ['traces']]
  ] as const) {
    t.strictSame(featuresOf(readConfig({ ...required, ...environment })), expected, JSON.stringify(environment))
  }
})
