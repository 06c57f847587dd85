import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { ConfigError } from '../../src/config/environment.ts'

const pair = { COS_SECRET_ID: 'AKIDexample', COS_SECRET_KEY: 'keyOfTheExample' }
const tke = { TKE_REGION: 'ap-beijing', TKE_PROVIDER_ID: 'tke', TKE_WEB_IDENTITY_TOKEN_FILE: '/token', TKE_ROLE_ARN: 'of-the-pod' }

type Variables = Record<string, string>

const path = `${t.testdir({})}/accounts.json`

function configOf (environment: Variables = {}) {
  return readConfig({ AUTH: 'none', COS_ACCOUNTS_FILE: path, ...environment })
}

/** Returns the sources of a document by account. */
function sourcesOf (accounts: object, environment?: Variables) {
  writeFileSync(path, JSON.stringify({ accounts }))
  return Object.fromEntries(configOf(environment).cos.accounts.read())
}

/** Returns the issues of a text, or of a document. */
function issuesOf (document: unknown, environment?: Variables): string[] {
  writeFileSync(path, typeof document === 'string' ? document : JSON.stringify(document))
  const { cos: { accounts } } = configOf(environment)
  try {
    accounts.read()
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    t.notMatch(error.message, /hidden|accounts\.json/, 'neither a value nor the path')
    return error.issues.map(issue => issue.replace(/^COS_ACCOUNTS_FILE:? /, ''))
  }
}

t.test('accounts file names the source of each account', async t => {
  const base = { source: 'cvm-role', metadataEndpoint: 'http://metadata' }
  const role = { source: 'assume-role', stsEndpoint: 'http://sts', region: 'ap-tokyo', roleArn: 'r' }
  const oidc = { source: 'oidc', stsEndpoint: 'http://sts', region: 'ap-beijing', providerId: 'tke', tokenFile: '/token', roleArn: 'of-the-pod' }
  t.match(sourcesOf({
    1: { source: 'file', path: '/key' },
    2: { source: 'cvm-role' },
    3: { source: 'oidc' },
    4: { source: 'oidc', region: 'ap-seoul', providerId: 'p', tokenFile: '/t', roleArn: 'mine' },
    5: { source: 'assume-role', roleArn: 'r' },
    6: { source: 'assume-role', roleArn: 'r', sessionName: 'mine', base: { source: 'cvm-role' } },
    7: { source: 'assume-role', roleArn: 'r', base: { source: 'oidc', roleArn: 'other' } },
    8: { source: 'assume-role', roleArn: 'r', base: { source: 'file', path: '/key' } },
    default: { source: 'env' }
  }, { ...pair, ...tke, STS_ENDPOINT: 'http://sts', METADATA_ENDPOINT: 'http://metadata', COS_REGION: 'ap-tokyo', COS_ROLE_SESSION_NAME: 'ours' }), {
    1: { source: 'file', path: '/key' },
    2: base,
    3: oidc,
    4: { ...oidc, region: 'ap-seoul', providerId: 'p', tokenFile: '/t', roleArn: 'mine' },
    5: { ...role, sessionName: 'ours', base: { source: 'env', variables: { files: [] } } },
    6: { ...role, sessionName: 'mine', base },
    7: { ...role, base: { ...oidc, roleArn: 'other' } },
    8: { ...role, base: { source: 'file', path: '/key' } },
    default: { source: 'env' }
  })
})

t.test('every issue of an accounts file is named at once, without values', async t => {
  t.strictSame(issuesOf({
    accounts: {
      1: { source: 'hidden' },
      2: 'hidden',
      3: {},
      4: { source: 'file', path: '', secretKey: 'hidden' },
      5: { source: 'cvm-role', path: '/hidden' },
      6: { source: 'assume-role', sessionName: '!', base: { source: 'assume-role', roleArn: 'hidden' } },
      7: { source: 'assume-role', roleArn: 'r', base: { source: 'file', region: 'x' } },
      8: { source: 'oidc', roleArn: 5 },
      9: { source: 'assume-role', roleArn: 'r' },
      default: { source: 'env' },
      'a-1250000000': { source: 'env' },
      'hidden name of an account': { source: 'env' },
      hiddenKeyhiddenKeyhiddenKeyhidde: { source: 'env' }
    },
    more: 1
  }).sort(), [
    '/accounts has a name that must be an APPID, which has digits only, or default',
    '/accounts/1/source must be one of env, file, cvm-role, oidc, assume-role',
    '/accounts/2 must be an object with source',
    '/accounts/3/source is required',
    '/accounts/4/path must be the path of a credentials file',
    '/accounts/4/secretKey is not known here',
    '/accounts/5/path is not known here',
    '/accounts/6/base/source must be one of env, file, cvm-role, oidc',
    '/accounts/6/roleArn is required',
    '/accounts/6/sessionName must be 2 to 128 letters, digits or _+=,.@-',
    '/accounts/7/base/path is required',
    '/accounts/7/base/region is not known here',
    '/accounts/8/providerId is required, or TKE_PROVIDER_ID',
    '/accounts/8/region is required, or TKE_REGION',
    '/accounts/8/roleArn must be the role to assume, such as qcs::cam::uin/100000000001:roleName/inventory',
    '/accounts/8/tokenFile is required, or TKE_WEB_IDENTITY_TOKEN_FILE',
    '/accounts/9 needs COS_SECRET_ID and COS_SECRET_KEY',
    '/accounts/a-1250000000 must be an APPID, which has digits only, or default',
    '/accounts/default needs COS_SECRET_ID and COS_SECRET_KEY',
    '/more is not known here'
  ].sort())
})

t.test('a document that is not an object with accounts is rejected', async t => {
  const accounts = '/accounts must be an object with 1 to 1000 accounts'
  for (const [document, ...issues] of [
    ['', 'the document is not JSON, which has no comments and no trailing commas'], ['{', /^the document is not JSON/],
    [[], /^the document must be an object with accounts/], [null, /^the document must be/], [{}, '/accounts is required'],
    [{ accounts: null }, accounts], [{ accounts: [] }, accounts], [{ accounts: {} }, accounts], [{ accounts: 'hidden' }, accounts],
    [{ accounts: Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [index, { source: 'cvm-role' }])) }, accounts]
  ] as Array<[unknown, string | RegExp]>) t.match(issuesOf(document).slice(0, 1), issues)
  t.match(issuesOf(`${JSON.stringify({ accounts: { 1: { source: 'cvm-role' } } })}${' '.repeat(1024 * 1024)}`), [/^cannot be read: larger than 1 MiB/])
  t.throws(() => configOf({ COS_ACCOUNTS_FILE: '/nowhere' }).cos.accounts.read(), /COS_ACCOUNTS_FILE cannot be read: ENOENT/)
})

t.test('the example in docs/credentials.md is valid', async t => {
  const text = readFileSync(new URL('../../docs/credentials.md', import.meta.url), 'utf8')
  const [, example = ''] = /## Several accounts[^]*?```json\n([^]*?)```/.exec(text) ?? []
  t.strictSame(issuesOf(example, { ...pair, ...tke }), [])
})

t.test('COS_CREDENTIALS and its settings have no effect beside an accounts file', async t => {
  const { ineffective } = configOf({
    ...pair, COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: 'r', COS_ROLE_BASE: 'file', COS_CREDENTIALS_FILE: '/key', COS_ROLE_SESSION_NAME: 'mine'
  })
  t.strictSame(ineffective, ['COS_CREDENTIALS', 'COS_CREDENTIALS_FILE', 'COS_ROLE_ARN', 'COS_ROLE_BASE'])
  const alone = readConfig({ AUTH: 'none', ...pair, COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: 'r', COS_ROLE_BASE: 'cvm-role' })
  t.strictSame(alone.ineffective, ['COS_SECRET_ID', 'COS_SECRET_KEY'])
})
