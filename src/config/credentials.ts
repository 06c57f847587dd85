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

/** A source of credentials that needs no other one, and its settings. */
export type BaseConfig =
  | { source: 'env', variables: VariableCredentials }
  | { source: 'file', path: string }
  | { source: 'cvm-role', metadataEndpoint: string }
  | { source: 'oidc', stsEndpoint: string, region: string, roleArn: string, providerId: string, tokenFile: string }

/** The source of credentials (`COS_CREDENTIALS`) and its settings. */
export type CredentialsConfig =
  | BaseConfig
  | {
    source: 'assume-role'
    stsEndpoint: string
    region: string
    roleArn: string
    sessionName: string
    /** The source of the credentials that assume the role. */
    base: BaseConfig
  }

/** Values of variables that sources of an accounts file use. */
export interface SourceSettings {
  keyPair: VariableCredentials
  /** Variables that a key pair needs and that are not set. */
  missingKeyNames: VariableName[]
  metadataEndpoint: string
  stsEndpoint: string
  /** STS is one service for all regions, but its calls name a region. */
  stsRegion: string
  sessionName: string
  /** The variables of `oidc` by the member that replaces them. */
  tke: Record<'region' | 'providerId' | 'tokenFile' | 'roleArn', { name: VariableName, value: string | undefined }>
}

const defaultRegion = 'ap-guangzhou'

/** Reads the variables that sources of an accounts file use. Requires none. */
export function readSourceSettings (
  reader: EnvironmentReader, environment: Environment, regionOfAll: string | undefined
): SourceSettings {
  const tke = (name: Extract<VariableName, `TKE_${string}`>) => ({ name, value: reader.read(name) })
  return {
    keyPair: variableCredentials(environment),
    missingKeyNames: (['COS_SECRET_ID', 'COS_SECRET_KEY'] as const).filter(name => !reader.has(name)),
    metadataEndpoint: reader.read('METADATA_ENDPOINT'),
    stsEndpoint: reader.read('STS_ENDPOINT'),
    stsRegion: regionOfAll ?? defaultRegion,
    sessionName: reader.read('COS_ROLE_SESSION_NAME'),
    tke: {
      region: tke('TKE_REGION'),
      providerId: tke('TKE_PROVIDER_ID'),
      tokenFile: tke('TKE_WEB_IDENTITY_TOKEN_FILE'),
      roleArn: tke('TKE_ROLE_ARN')
    }
  }
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
  const base = chosen === 'assume-role' ? reader.read('COS_ROLE_BASE') : chosen
  const need = (name: RequiredName, source: CredentialsConfig['source']) => {
    const value = reader.read(name)
    if (value === undefined && (source === chosen || source === base)) {
      reader.issues.push(`${name} is required with ${source === chosen ? 'COS_CREDENTIALS' : 'COS_ROLE_BASE'}=${source}`)
    }
    return value ?? ''
  }
  if (base === 'env') keyPair(reader)
  const stsEndpoint = reader.read('STS_ENDPOINT')
  const metadataEndpoint = reader.read('METADATA_ENDPOINT')
  const sources: { [T in BaseConfig['source']]: Extract<BaseConfig, { source: T }> } = {
    env: { source: 'env', variables: variableCredentials(environment) },
    file: { source: 'file', path: need('COS_CREDENTIALS_FILE', 'file') },
    'cvm-role': { source: 'cvm-role', metadataEndpoint },
    oidc: {
      source: 'oidc',
      stsEndpoint,
      region: need('TKE_REGION', 'oidc'),
      providerId: need('TKE_PROVIDER_ID', 'oidc'),
      tokenFile: need('TKE_WEB_IDENTITY_TOKEN_FILE', 'oidc'),
      roleArn: need('TKE_ROLE_ARN', 'oidc')
    }
  }
  const role = {
    stsEndpoint,
    region: regionOfAll ?? defaultRegion,
    roleArn: need('COS_ROLE_ARN', 'assume-role'),
    sessionName: reader.read('COS_ROLE_SESSION_NAME')
  }
  return chosen === 'assume-role' ? { source: chosen, ...role, base: sources[base] } : sources[base]
}

const keyPairNames = ['COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN'] as const

const namesOf: Readonly<Record<BaseConfig['source'], readonly VariableName[]>> = {
  env: keyPairNames,
  file: ['COS_CREDENTIALS_FILE'],
  'cvm-role': [],
  // TKE sets the variables of this source in every pod.
  oidc: []
}
const namesOfRole: readonly VariableName[] = ['COS_ROLE_ARN', 'COS_ROLE_SESSION_NAME', 'COS_ROLE_BASE']

/** Returns the variables that only other sources than the chosen one use. */
export function namesOfOtherSources (reader: EnvironmentReader): VariableName[] {
  // Any account of an accounts file may use the key pair, and the name of the session.
  if (reader.has('COS_ACCOUNTS_FILE')) return ['COS_CREDENTIALS', 'COS_CREDENTIALS_FILE', 'COS_ROLE_ARN', 'COS_ROLE_BASE']
  const chosen = reader.read('COS_CREDENTIALS')
  const used = chosen === 'assume-role' ? [...namesOfRole, ...namesOf[reader.read('COS_ROLE_BASE')]] : namesOf[chosen]
  return [...Object.values(namesOf).flat(), ...namesOfRole].filter(name => !used.includes(name))
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
