import { createHash, randomBytes } from 'node:crypto'
import type { Reply } from './answer.ts'
import { CosError } from './cos-error.ts'
import { readOneTimeInventory, readPeriodicInventory } from './inventory-document.ts'
import { type State, type StateStore, type StoredInventory, emptyState } from './state-file.ts'

const maxConfigurations = 1000
const pageSize = 100
const jobIdBlockedMs = 24 * 60 * 60 * 1000

/** A bucket and one of its ids; the region is that of the bucket. */
export interface InventoryPlace { bucket: string, region: string, id: string }

/** The five inventory operations. Each checks and answers; a change is made only when `effect` is called. */
export interface Inventories {
  /** @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid, InventoryFull */
  put (place: InventoryPlace, body: Buffer): Reply
  /** @throws CosError InventoryConfigurationNotFoundError */
  get (place: InventoryPlace): Reply
  /** @throws CosError InvalidArgument for a token this bucket did not give out */
  list (bucket: string, token: string | undefined): Reply
  delete (place: InventoryPlace): Reply
  /** @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid, DuplicateInventoryId */
  post (place: InventoryPlace, body: Buffer, nowMs: number): Reply
  /** The stored documents of a bucket in the order of their creation. */
  documents (bucket: string): string[]
  reset (): void
}

/**
 * The configurations and one-time jobs of all buckets.
 * @throws Error when the state kept cannot be read
 */
export function createInventories (store: StateStore): Inventories {
  let state = store.load()

  // First kept, then valid: what could not be kept was not done.
  function commit (next: State): void {
    store.save(next)
    state = next
  }

  const storedIn = (bucket: string) => state.configurations[bucket] ?? []
  const withStored = (bucket: string, stored: StoredInventory[]): State =>
    ({ ...state, configurations: { ...state.configurations, [bucket]: stored } })

  return {
    put (place, body) {
      const { bucket, id } = place
      const xml = readPeriodicInventory(body, place)
      const stored = storedIn(bucket)
      const replaces = stored.some(each => each.id === id)
      if (!replaces && stored.length >= maxConfigurations) throw new CosError('InventoryFull')
      const sequence = state.nextSequence
      const next = replaces
        ? withStored(bucket, stored.map(each => each.id === id ? { ...each, xml } : each))
        : { ...withStored(bucket, [...stored, { id, sequence, xml }]), nextSequence: sequence + 1 }
      return { status: 200, body: '', effect: () => commit(next) }
    },

    get ({ bucket, id }) {
      const found = storedIn(bucket).find(each => each.id === id)
      if (found === undefined) throw new CosError('InventoryConfigurationNotFoundError')
      return { status: 200, body: found.xml }
    },

    list (bucket, token) {
      const after = token ? readToken(bucket, token) : 0
      const rest = storedIn(bucket).filter(({ sequence }) => sequence > after)
      const page = rest.slice(0, pageSize)
      const last = page.at(-1)
      const isTruncated = last !== undefined && rest.length > page.length
      const elements = [
        ...page.map(({ xml }) => xml),
        `<IsTruncated>${isTruncated}</IsTruncated>`,
        `<ContinuationToken>${token ?? ''}</ContinuationToken>`,
        isTruncated ? `<NextContinuationToken>${makeToken(bucket, last.sequence)}</NextContinuationToken>` : ''
      ]
      const root = 'ListInventoryConfigurationResult'
      return { status: 200, body: `<${root}>${elements.join('')}</${root}>` }
    },

    delete ({ bucket, id }) {
      const next = withStored(bucket, storedIn(bucket).filter(each => each.id !== id))
      return { status: 204, effect: () => commit(next) }
    },

    post (place, body, nowMs) {
      const { bucket, id } = place
      readOneTimeInventory(body, place)
      const jobs = (state.jobs[bucket] ?? []).filter(job => nowMs < job.createdAtMs + jobIdBlockedMs)
      const isTaken = [...jobs, ...storedIn(bucket)].some(each => each.id === id)
      if (isTaken) throw new CosError('DuplicateInventoryId')
      const next = { ...state, jobs: { ...state.jobs, [bucket]: [...jobs, { id, createdAtMs: nowMs }] } }
      const jobId = randomBytes(32).toString('base64')
      return {
        status: 200,
        body: `<PostInventoryResult><JobId>${jobId}</JobId></PostInventoryResult>`,
        effect: () => commit(next)
      }
    },

    documents: bucket => storedIn(bucket).map(({ xml }) => xml),

    reset () {
      commit(emptyState())
    }
  }
}

// The first three bytes make every token begin with +/+/ and the length of 23 makes it end with =, so that
// a client which does not percent-encode it never gets a second page.
function makeToken (bucket: string, sequence: number): string {
  const position = Buffer.alloc(4)
  position.writeUInt32BE(sequence)
  const check = createHash('sha1').update(`${bucket} ${sequence}`).digest().subarray(0, 16)
  return Buffer.concat([Buffer.from([0xfb, 0xff, 0xbf]), position, check]).toString('base64')
}

function readToken (bucket: string, token: string): number {
  const bytes = Buffer.from(token, 'base64')
  const sequence = bytes.length === 23 ? bytes.readUInt32BE(3) : 0
  if (makeToken(bucket, sequence) !== token) {
    throw new CosError('InvalidArgument', 'The continuation-token is not one of this bucket.')
  }
  return sequence
}
