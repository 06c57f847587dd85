import { randomBytes } from 'node:crypto'
import type { Reply } from './response.ts'
import { CosError } from './cos-error.ts'
import { readOneTimeInventory, readPeriodicInventory } from './inventory-document.ts'
import { toPage } from './paging.ts'
import { type Job, type State, type StateStore, type StoredInventory, emptyState } from './state-file.ts'

const maxConfigurations = 1000
const jobIdBlockedMs = 24 * 60 * 60 * 1000

/** A bucket and one of its ids; the region is that of the bucket. */
export interface InventoryPlace { bucket: string, region: string, id: string }

/** The five inventory operations. Each checks the request and responds. Only `effect` makes the change. */
export interface Inventories {
  /** @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid, InventoryFull */
  put (place: InventoryPlace, body: Buffer, nowMs: number): Reply
  /** @throws CosError InventoryConfigurationNotFoundError */
  get (place: InventoryPlace): Reply
  /** @throws CosError InvalidArgument for a token of another bucket or of no page */
  list (bucket: string, token: string | undefined): Reply
  delete (place: InventoryPlace): Reply
  /** @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid, DuplicateInventoryId */
  post (place: InventoryPlace, body: Buffer, nowMs: number): Reply
  /** Returns the stored documents of a bucket in the order of their creation. */
  documents (bucket: string): string[]
  /** Returns the document of a configuration, or of a one-time job whose id is still blocked. */
  find (bucket: string, id: string): string | undefined
  /** Returns the configurations of all buckets. */
  configurations (): Array<StoredInventory & { bucket: string }>
  /** Returns the one-time jobs of all buckets that were created after one time and until another. */
  jobs (afterMs: number, untilMs: number): Array<Job & { bucket: string }>
  reset (): void
}

/**
 * Creates the operations on the configurations and one-time jobs of all buckets.
 *
 * @throws Error when the stored state cannot be read
 */
export function createInventories (store: StateStore): Inventories {
  let state = store.load()
  const storedIn = (bucket: string) => state.configurations[bucket] ?? []

  function commit (next: State): void {
    // The file comes first, so a change that cannot be stored is not made.
    store.save(next)
    state = next
  }

  return {
    put (place, body, nowMs) {
      const { bucket, id } = place
      const xml = readPeriodicInventory(body, place)
      const stored = storedIn(bucket)
      const replaces = stored.some(each => each.id === id)
      if (!replaces && stored.length >= maxConfigurations) throw new CosError('InventoryFull')
      const { nextSequence: sequence } = state
      const put = { xml, putAtMs: nowMs }
      const next = replaces
        ? withStored(state, bucket, stored.map(each => each.id === id ? { ...each, ...put } : each))
        : { ...withStored(state, bucket, [...stored, { id, sequence, ...put }]), nextSequence: sequence + 1 }
      return { status: 200, body: '', effect: () => commit(next) }
    },

    get ({ bucket, id }) {
      const found = storedIn(bucket).find(each => each.id === id)
      if (found === undefined) throw new CosError('InventoryConfigurationNotFoundError')
      return { status: 200, body: found.xml }
    },

    list: (bucket, token) => ({ status: 200, body: toPage(bucket, storedIn(bucket), token) }),

    delete ({ bucket, id }) {
      const next = withStored(state, bucket, storedIn(bucket).filter(each => each.id !== id))
      return { status: 204, effect: () => commit(next) }
    },

    post (place, body, nowMs) {
      const { bucket, id } = place
      const xml = readOneTimeInventory(body, place)
      const jobs = (state.jobs[bucket] ?? []).filter(job => nowMs < job.createdAtMs + jobIdBlockedMs)
      const isTaken = [...jobs, ...storedIn(bucket)].some(each => each.id === id)
      if (isTaken) throw new CosError('DuplicateInventoryId')
      const next = { ...state, jobs: { ...state.jobs, [bucket]: [...jobs, { id, createdAtMs: nowMs, xml }] } }
      const jobId = randomBytes(32).toString('base64')
      return {
        status: 200,
        body: `<PostInventoryResult><JobId>${jobId}</JobId></PostInventoryResult>`,
        effect: () => commit(next)
      }
    },

    documents: bucket => storedIn(bucket).map(({ xml }) => xml),
    find: (bucket, id) => [...storedIn(bucket), ...state.jobs[bucket] ?? []].find(each => each.id === id)?.xml,
    configurations: () => withBuckets(state.configurations, () => true),
    jobs: (afterMs, untilMs) => withBuckets(state.jobs, isCreatedWithin(afterMs, untilMs)),
    reset: () => commit(emptyState())
  }
}

function isCreatedWithin (afterMs: number, untilMs: number): (job: Job) => boolean {
  return ({ createdAtMs }) => createdAtMs > afterMs && createdAtMs <= untilMs
}

function withBuckets<T> (
  byBucket: Record<string, T[]>, isWanted: (each: T) => boolean
): Array<T & { bucket: string }> {
  return Object.entries(byBucket)
    .flatMap(([bucket, all]) => all.filter(isWanted).map(each => ({ ...each, bucket })))
}

function withStored (state: State, bucket: string, stored: StoredInventory[]): State {
  return { ...state, configurations: { ...state.configurations, [bucket]: stored } }
}
