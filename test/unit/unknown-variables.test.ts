import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { unknownNames } from '../../src/config/unknown-variables.ts'
import { sections } from '../../src/config/variables.ts'

const unknownOf = (...names: string[]) => unknownNames(Object.fromEntries(names.map(name => [name, 'x'])))

t.test('misspelled variables of the service are unknown', async t => {
  const misspelled = [
    'AUTH_NONE', 'CALLERS_PATH', 'CALLER_FILE', 'COS_REGIONS', 'COS_SECRETKEY', 'COS_SECRETKEY_FILE', 'KEEPALIVE_TIMEOUT_MS',
    'LOGLEVEL', 'READONLY', 'REDIS_URI', 'REPORT_WATCH', 'SHTUDOWN_GRACE_MS', 'SHUTDOWN_GRACE', 'TLS_CERT', 'TRUSTED_PROXY',
    'cos_region'
  ]
  t.strictSame(unknownOf(...misspelled), misspelled)
})

t.test('variables of the service in every form are not unknown', async t => {
  const names = sections.flatMap(({ variables }) => Object.keys(variables))
  t.strictSame(unknownOf(...names), [])
  t.strictSame(unknownOf('COS_SECRET_KEY_FILE', 'REDIS_URL_FILE', 'http_proxy', 'https_proxy_FILE', 'COS_CREDENTIALS_FILE'), [])
})

t.test('variables of platforms and of other programs are not unknown', async t => {
  t.strictSame(unknownOf('PATH', 'HOME', 'HOSTNAME', 'TZ', 'NODE_OPTIONS', 'npm_config_cache', 'PORTS', 'OAUTH', 'FTP_PROXY', 'all_proxy',
    'OTEL_SERVICE_NAME', 'TKE_IDENTITY', 'REDIS_SERVICE_HOST', 'KUBERNETES_PORT', 'TENCENTCLOUD_REGION', 'EMULATOR_PORT'), [])
  t.strictSame(unknownNames({
    COS_INVENTORY_PROXY_PORT: 'tcp://10.0.0.1:80',
    COS_INVENTORY_PROXY_PORT_80_TCP: 'tcp://10.0.0.1:80',
    COS_INVENTORY_PROXY_PORT_80_TCP_ADDR: '10.0.0.1',
    COS_INVENTORY_PROXY_SERVICE_HOST: '10.0.0.1',
    COS_INVENTORY_PROXY_SERVICE_PORT: '80',
    COS_INVENTORY_PROXY_SERVICE_PORT_HTTP: '80',
    COS_TIMEOUT: '',
    COS_ABSENT: undefined
  }), [])
  t.strictSame(unknownNames({ COS_PROXY_PORT: '80' }), ['COS_PROXY_PORT'], 'not the URL of a service link')
})

t.test('names that can be secrets are left out, and at most 20 names are returned', async t => {
  t.strictSame(unknownOf(`COS_${'x'.repeat(61)}`, 'COS_A=B', 'COS_KEY AKIDxyz'), [])
  t.equal(unknownOf(...Array.from({ length: 30 }, (_, index) => `COS_X${index}`)).length, 20)
})

t.test('readConfig returns the unknown names', async t => {
  const environment = { AUTH: 'none', COS_SECRET_ID: 'AKIDx', COS_SECRET_KEY: 'x' }
  t.strictSame(readConfig({ ...environment, COS_SECRETKEY: 'x' }).unknown, ['COS_SECRETKEY'])
})
