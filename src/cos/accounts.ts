/** The accounts of Tencent Cloud: which one a call uses, its credentials and its buckets. */
import { isDeepStrictEqual } from 'node:util'
import type { CredentialsConfig } from '../config/credentials.ts'
import { ServiceError } from '../errors.ts'
import type { Freshness, Reloader } from '../files/reload.ts'
import type { CosCall } from './client/attempt.ts'
import type { CredentialLog, LoaderDependencies } from './credentials/loader.ts'
import { createCredentialProvider } from './credentials/provider.ts'
import type { CredentialProvider } from './credentials/provider.ts'
import type { CredentialSource } from './credentials/source.ts'
import { AccountBuckets } from './regions/account-buckets.ts'
import type { BucketRegions } from './regions/bucket-list.ts'

/** An account, and the credentials for its buckets. */
export interface Account {
  /** Its APPID, or `default`. */
  readonly name: string
  readonly source: CredentialSource
  readonly credentials: CredentialProvider
  /** The buckets that GET Service lists. */
  readonly buckets: AccountBuckets
  /** Lists the buckets with GET Service. */
  listBuckets (call: CosCall['call']): Promise<BucketRegions>
}

/** All accounts of the service. */
export interface Accounts {
  /**
   * Returns the account of a bucket: that of its APPID, else `default`.
   *
   * @throws {ServiceError} AccountUnknown when there is neither
   */
  of (bucket: string): Account
  /** Returns the account as {@link of} does; undefined when there is none. */
  find (bucket: string): Account | undefined
  /** Returns all accounts, in the order of the file. */
  list (): readonly Account[]
  /** Returns why no account has valid credentials, without secrets; undefined while one has. */
  unavailableReason (): string | undefined
  /**
   * Adds and removes accounts, and replaces the sources that have changed. A replaced source keeps the previous
   * credentials until it has loaded its own. Calls in flight keep the credentials of a removed account.
   *
   * @param sources all accounts by APPID or `default`
   */
  update (sources: ReadonlyMap<string, CredentialsConfig>): void
  /** Starts the first loads. Resolves when those have ended that call no other service. Never throws. */
  start (): Promise<void>
  /** Ends all refreshing. */
  close (): void
}

interface Dependencies extends Omit<LoaderDependencies, 'log'> {
  createSource: (config: CredentialsConfig) => CredentialSource
  createBucketList: (credentials: CredentialProvider) => Account['listBuckets']
  /** Returns the log of an account. */
  logOf: (name: string) => CredentialLog
  watch: Reloader['watch']
}

interface Entry extends Account {
  config: CredentialsConfig
  source: CredentialSource
  buckets: AccountBuckets
  log: CredentialLog
  endWatch: () => void
}

/** Most accounts whose reasons are named. A response must stay short. */
const maxReasons = 3

/** Creates the accounts. There is none before the first update. */
export function createAccounts (dependencies: Dependencies): Accounts {
  const { open, replaceSource, remove } = createEntries(dependencies)
  let accounts = new Map<string, Entry>()
  let isStarted = false

  const find = (bucket: string) => accounts.get(appIdOf(bucket)) ?? accounts.get('default')

  function add (name: string, config: CredentialsConfig): Entry {
    const entry = open(name, config)
    if (isStarted) void entry.credentials.start()
    return entry
  }

  return {
    find,
    of (bucket) {
      const account = find(bucket)
      if (account !== undefined) return account
      throw new ServiceError('AccountUnknown', `The service has no account for the APPID ${appIdOf(bucket)} of ${bucket}. ` +
        'Nothing was sent to COS. Check the name, or ask the operator to add the account to COS_ACCOUNTS_FILE.')
    },
    list: () => [...accounts.values()],
    unavailableReason: () => commonReason([...accounts.values()]),
    update (sources) {
      const updated = new Map<string, Entry>()
      for (const [name, config] of sources) {
        const known = accounts.get(name)
        if (known !== undefined && !isDeepStrictEqual(known.config, config)) replaceSource(known, config)
        updated.set(name, known ?? add(name, config))
      }
      for (const [name, entry] of accounts) if (!sources.has(name)) remove(entry)
      accounts = updated
    },
    async start () {
      isStarted = true
      await Promise.all([...accounts.values()].map(async ({ source, credentials }) => {
        const load = credentials.start()
        if (source.isLocal) await load
      }))
    },
    close () {
      for (const each of accounts.values()) remove(each)
    }
  }
}

/** Creates the functions that open, change and remove one account. */
function createEntries ({ createSource, createBucketList, logOf, watch, ...loading }: Dependencies) {
  const bucketsOf = ({ listBuckets, log }: Pick<Entry, 'listBuckets' | 'log'>) =>
    new AccountBuckets({ listBuckets, log, now: loading.steadyNow })

  function watchFiles ({ name, source, credentials }: Pick<Entry, 'name' | 'source' | 'credentials'>): () => void {
    return watch('COS_CREDENTIALS', source.files, () => credentials.reload(),
      { account: name, freshness: () => freshnessOf(source, credentials) })
  }

  return {
    open (name: string, config: CredentialsConfig): Entry {
      const log = logOf(name)
      const source = createSource(config)
      const credentials = createCredentialProvider(source, { ...loading, log })
      const parts = { name, config, source, credentials, log, listBuckets: createBucketList(credentials) }
      return { ...parts, buckets: bucketsOf(parts), endWatch: watchFiles(parts) }
    },

    replaceSource (entry: Entry, config: CredentialsConfig): void {
      entry.endWatch()
      entry.config = config
      entry.source = createSource(config)
      entry.endWatch = watchFiles(entry)
      // A list that the previous credentials are fetching must not be kept.
      void entry.credentials.use(entry.source).then(() => { entry.buckets = bucketsOf(entry) })
    },

    remove ({ credentials, endWatch }: Entry): void {
      endWatch()
      credentials.close()
    }
  }
}

/** Returns the reasons of all accounts; undefined while one has valid credentials. */
function commonReason (accounts: readonly Account[]): string | undefined {
  const reasons: string[] = []
  for (const { name, credentials } of accounts) {
    const reason = credentials.unavailableReason()
    if (reason === undefined) return undefined
    reasons.push(accounts.length === 1 ? reason : `account ${name}: ${reason}`)
  }
  const more = reasons.length > maxReasons ? [`and ${reasons.length - maxReasons} more`] : []
  return [...reasons.slice(0, maxReasons), ...more].join('; ')
}

/** Returns the APPID of a bucket: the part behind its last hyphen (COS document 13312). */
function appIdOf (bucket: string): string {
  return bucket.slice(bucket.lastIndexOf('-') + 1)
}

/** Returns the state of the credentials, which their loader also refreshes between reloads. */
function freshnessOf ({ files }: CredentialSource, { lastLoad }: CredentialProvider): Freshness {
  const { isSuccess, succeededAt } = lastLoad()
  return { isCurrent: isSuccess, readAt: files.length === 0 ? undefined : succeededAt }
}
