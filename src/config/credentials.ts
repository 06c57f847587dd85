import { Secret } from '../secret.ts'
import { ConfigError, EnvironmentReader } from './environment.ts'
import type { Environment, VariableName } from './environment.ts'

/** A key pair of Tencent Cloud. A temporary one has a token. */
export interface Credentials {
  secretId: string
  secretKey: Secret
  token: Secret | undefined
}

/** A key pair from variables. It can change while the process runs if the variables have the file form. */
export interface VariableCredentials {
  /** The files that contain a part of it. */
  files: string[]
  /**
   * Reads it again.
   *
   * @throws {ConfigError} when a file does not exist or contains no key
   */
  read (): Credentials
}

/** The source of credentials (`COS_CREDENTIALS`) and its settings. */
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

/** Variables that a source requires, besides the key pair. */
type RequiredName = 'COS_CREDENTIALS_FILE' | 'COS_ROLE_ARN' | Extract<VariableName, `TKE_${string}`>

/**
 * Reads the source of credentials. Validates a key pair from variables. Other sources validate their credentials when
 * they load them.
 */
export function readCredentials (
  reader: EnvironmentReader, environment: Environment, regionOfAll: string | undefined
): CredentialsConfig {
  const chosen = reader.read('COS_CREDENTIALS')
  const need = (name: RequiredName, source: CredentialsConfig['source']) => {
    const value = reader.read(name)
    if (value === undefined && source === chosen) reader.issues.push(`${name} is required with COS_CREDENTIALS=${source}`)
    return value ?? ''
  }
  const variables = variableCredentials(environment)
  if (chosen === 'env' || chosen === 'assume-role') keyPair(reader)
  const stsEndpoint = reader.read('STS_ENDPOINT')
  const metadataEndpoint = reader.read('METADATA_ENDPOINT')
  const sources: { [T in CredentialsConfig['source']]: Extract<CredentialsConfig, { source: T }> } = {
    env: { source: 'env', variables },
    file: { source: 'file', path: need('COS_CREDENTIALS_FILE', 'file') },
    'cvm-role': { source: 'cvm-role', metadataEndpoint },
    oidc: {
      source: 'oidc',
      stsEndpoint,
      region: need('TKE_REGION', 'oidc'),
      providerId: need('TKE_PROVIDER_ID', 'oidc'),
      tokenFile: need('TKE_WEB_IDENTITY_TOKEN_FILE', 'oidc'),
      roleArn: need('TKE_ROLE_ARN', 'oidc')
    },
    'assume-role': {
      source: 'assume-role',
      stsEndpoint,
      variables,
      // STS is one service for all regions, but its calls name a region.
      region: regionOfAll ?? 'ap-guangzhou',
      roleArn: need('COS_ROLE_ARN', 'assume-role'),
      sessionName: reader.read('COS_ROLE_SESSION_NAME')
    }
  }
  return sources[chosen]
}

const keyPairNames = ['COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN'] as const

const namesOf: Readonly<Record<CredentialsConfig['source'], readonly VariableName[]>> = {
  env: keyPairNames,
  file: ['COS_CREDENTIALS_FILE'],
  'cvm-role': [],
  // TKE sets the variables of this source in every pod.
  oidc: [],
  'assume-role': [...keyPairNames, 'COS_ROLE_ARN', 'COS_ROLE_SESSION_NAME']
}

/** Returns the variables that only other sources than the chosen one use. */
export function namesOfOtherSources (reader: EnvironmentReader): VariableName[] {
  const chosen = namesOf[reader.read('COS_CREDENTIALS')]
  return [...new Set(Object.values(namesOf).flat())].filter(name => !chosen.includes(name))
}

function variableCredentials (environment: Environment): VariableCredentials {
  const all = new EnvironmentReader(environment)
  return {
    files: keyPairNames.map(name => all.path(name)).filter(path => path !== undefined),
    read () {
      const reader = new EnvironmentReader(environment)
      const credentials = keyPair(reader)
      if (reader.issues.length > 0) throw new ConfigError(reader.issues)
      return credentials
    }
  }
}

function keyPair (reader: EnvironmentReader): Credentials {
  const required = (name: 'COS_SECRET_ID' | 'COS_SECRET_KEY') => {
    if (!reader.has(name)) reader.issues.push(`${name} is required (or ${name}_FILE, or another source in COS_CREDENTIALS)`)
    return reader.read(name) ?? new Secret('')
  }
  return {
    secretId: required('COS_SECRET_ID').reveal(),
    secretKey: required('COS_SECRET_KEY'),
    token: reader.read('COS_TOKEN')
  }
}
