import { Type } from '@sinclair/typebox'
import {
  accountNamePattern, AccountsFileSchema, baseSchemas, defaultAccount, sourceSchemas
} from '../contract/accounts.ts'
import type { AccountsFile, AccountSource, BaseSource } from '../contract/accounts.ts'
import { readCredentials, readSourceSettings } from './credentials.ts'
import type { BaseConfig, CredentialsConfig, SourceSettings } from './credentials.ts'
import { isPlainName, membersOf, parseDocument, readDocument, rejectIssues, schemaIssues } from './document-issues.ts'
import type { Issue } from './document-issues.ts'
import type { Environment, EnvironmentReader } from './environment.ts'

/** The accounts of Tencent Cloud and their sources of credentials. */
export interface AccountsConfig {
  /** The accounts file; undefined if `default` is the only account, with the source of `COS_CREDENTIALS`. */
  file: string | undefined
  /**
   * Reads the accounts again. Returns their sources by APPID or `default`.
   *
   * @throws {ConfigError} with every issue of the file
   */
  read (): ReadonlyMap<string, CredentialsConfig>
}

const variable = 'COS_ACCOUNTS_FILE'
const maxMebibytes = 1

/** Reads the accounts from variables. The accounts file is read later, with other files. */
export function readAccounts (
  reader: EnvironmentReader, environment: Environment, regionOfAll: string | undefined
): AccountsConfig {
  const file = reader.read(variable)
  if (file === undefined) {
    const only = new Map([[defaultAccount, readCredentials(reader, environment, regionOfAll)]])
    return { file, read: () => only }
  }
  const settings = readSourceSettings(reader, environment, regionOfAll)
  return { file, read: () => parseAccounts(readDocument(variable, file, maxMebibytes), settings) }
}

function parseAccounts (text: string, settings: SourceSettings): ReadonlyMap<string, CredentialsConfig> {
  const document = parseDocument(variable, text)
  const { accounts } = membersOf(document)
  const entries = typeof accounts === 'object' ? Object.entries(accounts ?? {}) : []
  rejectIssues(variable, [
    ...schemaIssues(AccountsFileSchema, document),
    ...entries.flatMap(([name, source]) => accountIssues(name, source, settings))
  ])
  return new Map(Object.entries((document as AccountsFile).accounts)
    .map(([name, source]) => [name, toCredentialsConfig(source, settings)]))
}

function accountIssues (name: string, source: unknown, settings: SourceSettings): Issue[] {
  const detail = 'must be an APPID, which has digits only, or default'
  if (accountNamePattern.test(name)) return sourceIssues(`/accounts/${name}`, source, sourceSchemas, settings)
  return [isPlainName(name) ? { pointer: `/accounts/${name}`, detail } : { pointer: '/accounts', detail: `has a name that ${detail}` }]
}

/** Returns the issues of a source, and those of variables that it needs. */
function sourceIssues (
  pointer: string, value: unknown, schemas: Partial<typeof sourceSchemas>, settings: SourceSettings
): Issue[] {
  const at = (issues: Issue[]) => issues.map(issue => ({ ...issue, pointer: pointer + issue.pointer }))
  const names = Object.keys(schemas) as Array<keyof typeof schemas>
  const named = schemaIssues(Type.Object({
    source: Type.Union(names.map(name => Type.Literal(name)), { description: `one of ${names.join(', ')}` })
  }, { description: 'an object with source' }), value)
  if (named.length > 0) return at(named)
  const source = value as AccountSource
  const issues = at(schemaIssues(sourceSchemas[source.source], source))
  if (source.source === 'assume-role' && source.base !== undefined) {
    return [...issues, ...sourceIssues(`${pointer}/base`, source.base, baseSchemas, settings)]
  }
  return [...issues, ...missingVariables(source, settings).map(({ member, name }) => ({
    pointer: member === undefined ? pointer : `${pointer}/${member}`,
    detail: member === undefined ? `needs ${name}` : `is required, or ${name}`
  }))]
}

/** Returns the variables that a source needs and that are not set, with the members that could replace them. */
function missingVariables (
  source: AccountSource, { missingKeyNames, tke }: SourceSettings
): Array<{ member?: string, name: string }> {
  switch (source.source) {
    // Without a base, the key pair of the variables assumes the role.
    case 'env':
    case 'assume-role':
      return missingKeyNames.length === 0 ? [] : [{ name: missingKeyNames.join(' and ') }]
    case 'oidc':
      return Object.entries(tke)
        .filter(([member, { value }]) => value === undefined && source[member as keyof typeof source] === undefined)
        .map(([member, { name }]) => ({ member, name }))
    case 'file':
    case 'cvm-role':
      return []
  }
}

function toCredentialsConfig (source: AccountSource, settings: SourceSettings): CredentialsConfig {
  if (source.source !== 'assume-role') return toBaseConfig(source, settings)
  const { roleArn, sessionName = settings.sessionName, base = { source: 'env' } } = source
  const { stsEndpoint, stsRegion: region } = settings
  return { source: 'assume-role', stsEndpoint, region, roleArn, sessionName, base: toBaseConfig(base, settings) }
}

function toBaseConfig (
  source: BaseSource, { keyPair, metadataEndpoint, stsEndpoint, tke }: SourceSettings
): BaseConfig {
  switch (source.source) {
    case 'env': return { source: 'env', variables: keyPair }
    case 'file': return { source: 'file', path: source.path }
    case 'cvm-role': return { source: 'cvm-role', metadataEndpoint }
    case 'oidc': {
      const member = (name: keyof typeof tke) => (source[name] ?? tke[name].value) as string
      return {
        source: 'oidc',
        stsEndpoint,
        region: member('region'),
        providerId: member('providerId'),
        tokenFile: member('tokenFile'),
        roleArn: member('roleArn')
      }
    }
  }
}
