import { Secret } from '../secret.ts'
import { ConfigError, EnvironmentReader } from './environment.ts'
import type { Environment } from './environment.ts'

/** A key pair of Tencent Cloud, with a token when it is a temporary one. */
export interface Credentials {
  secretId: string
  secretKey: Secret
  token: Secret | undefined
}

/** A key pair out of variables; those in their file form can change while the process runs. */
export interface VariableCredentials {
  /** The files that hold a part of it, if any. */
  files: string[]
  /** Reads it anew. @throws {ConfigError} when a file is gone or holds no key */
  read (): Credentials
}

/** Where credentials come from (`COS_CREDENTIALS`), with what that source needs. */
export type CredentialsConfig =
  | { source: 'env', variables: VariableCredentials }
  | { source: 'file', path: string }
  | { source: 'cvm-role', metadataEndpoint: string }
  | { source: 'oidc', stsEndpoint: string, region: string, roleArn: string, providerId: string, tokenFile: string }
  | {
    source: 'assume-role'
    stsEndpoint: string
    region: string
    roleArn: string
    sessionName: string
    variables: VariableCredentials
  }

/**
 * Reads where credentials come from. A key pair of variables is checked here; what other sources give, when they do.
 */
export function readCredentials (
  reader: EnvironmentReader, environment: Environment, regionOfAll: string | undefined
): CredentialsConfig {
  const need = (name: string, source: string) => {
    const value = reader.value(name)
    if (value !== undefined) return value
    if (source === chosen) reader.faults.push(`${name} is required with COS_CREDENTIALS=${source}`)
    return ''
  }
  const chosen = reader.choice('COS_CREDENTIALS', 'env', ['env', 'file', 'cvm-role', 'oidc', 'assume-role'])
  const variables = variableCredentials(environment)
  if (chosen === 'env' || chosen === 'assume-role') keyPair(reader)
  const sts = {
    stsEndpoint: reader.url('STS_ENDPOINT', ['https:', 'http:']) ?? 'https://sts.tencentcloudapi.com'
  }
  const metadataEndpoint = reader.url('METADATA_ENDPOINT', ['https:', 'http:']) ?? 'http://metadata.tencentyun.com'
  const sources: { [T in CredentialsConfig['source']]: Extract<CredentialsConfig, { source: T }> } = {
    env: { source: 'env', variables },
    file: { source: 'file', path: need('COS_CREDENTIALS_FILE', 'file') },
    'cvm-role': { source: 'cvm-role', metadataEndpoint },
    oidc: {
      source: 'oidc',
      ...sts,
      region: need('TKE_REGION', 'oidc'),
      providerId: need('TKE_PROVIDER_ID', 'oidc'),
      tokenFile: need('TKE_WEB_IDENTITY_TOKEN_FILE', 'oidc'),
      roleArn: need('TKE_ROLE_ARN', 'oidc')
    },
    'assume-role': {
      source: 'assume-role',
      ...sts,
      variables,
      // STS is one service for all regions, but its calls name one.
      region: regionOfAll ?? 'ap-guangzhou',
      roleArn: need('COS_ROLE_ARN', 'assume-role'),
      sessionName: sessionName(reader)
    }
  }
  return sources[chosen]
}

const namesOf: Readonly<Record<CredentialsConfig['source'], string[]>> = {
  env: ['COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN'],
  file: ['COS_CREDENTIALS_FILE'],
  'cvm-role': [],
  // Its variables are set by TKE in every pod.
  oidc: [],
  'assume-role': ['COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN', 'COS_ROLE_ARN', 'COS_ROLE_SESSION_NAME']
}

/** Variables that mean something to sources that are not chosen. */
export function namesOfOtherSources (reader: EnvironmentReader): string[] {
  const chosen = namesOf[(reader.value('COS_CREDENTIALS') ?? 'env') as CredentialsConfig['source']] as string[] | undefined
  return [...new Set(Object.values(namesOf).flat())].filter(name => chosen?.includes(name) === false)
}

function variableCredentials (environment: Environment): VariableCredentials {
  const names = ['COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN']
  const all = new EnvironmentReader(environment)
  return {
    files: names.map(name => all.path(name)).filter(path => path !== undefined),
    read () {
      const reader = new EnvironmentReader(environment)
      const credentials = keyPair(reader)
      if (reader.faults.length > 0) throw new ConfigError(reader.faults)
      return credentials
    }
  }
}

function keyPair (reader: EnvironmentReader): Credentials {
  const required = (name: string) => {
    if (!reader.has(name)) reader.faults.push(`${name} is required (or ${name}_FILE, or another source in COS_CREDENTIALS)`)
    return reader.secret(name) ?? new Secret('')
  }
  return {
    secretId: required('COS_SECRET_ID').reveal(),
    secretKey: required('COS_SECRET_KEY'),
    token: reader.secret('COS_TOKEN')
  }
}

function sessionName (reader: EnvironmentReader): string {
  const name = reader.value('COS_ROLE_SESSION_NAME') ?? 'cos-inventory-proxy'
  // STS AssumeRole (document 1312/48197): 2 to 128 of these.
  if (!/^[A-Za-z0-9_+=,.@-]{2,128}$/.test(name)) {
    reader.faults.push('COS_ROLE_SESSION_NAME must be 2 to 128 letters, digits or _+=,.@-')
  }
  return name
}
