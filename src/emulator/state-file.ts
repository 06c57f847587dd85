import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

export interface StoredInventory { id: string, sequence: number, xml: string }
export interface Job { id: string, createdAtMs: number }

/** All the emulator remembers; by bucket. Sequences are never used twice, not even after a deletion. */
export interface State {
  nextSequence: number
  configurations: Record<string, StoredInventory[]>
  jobs: Record<string, Job[]>
}

export interface StateStore {
  load (): State
  /** Returns when the state is kept; throws when it is not. */
  save (state: State): void
}

/** Keeps nothing. */
export const volatileState: StateStore = {
  load: emptyState,
  save () {}
}

/**
 * Keeps the state in a file of JSON. It is written beside and renamed, so the file is whole whenever the
 * process is killed; it is not flushed to the disk, so a power cut may lose the last changes.
 */
export function createStateFile (path: string): StateStore {
  return {
    load () {
      const state = existsSync(path) ? parseState(readFileSync(path, 'utf8')) : emptyState()
      if (state === undefined) throw new Error(`${path} is not a state file of this emulator`)
      // A file that cannot be written is an error now, not of the first change.
      save(path, state)
      return state
    },
    save: state => { save(path, state) }
  }
}

function save (path: string, state: State): void {
  const beside = `${path}.${process.pid}.new`
  writeFileSync(beside, JSON.stringify(state))
  renameSync(beside, path)
}

/** The state of an emulator that has stored nothing yet. */
export function emptyState (): State {
  return { nextSequence: 1, configurations: {}, jobs: {} }
}

function parseState (json: string): State | undefined {
  try {
    const { nextSequence, configurations, jobs } = JSON.parse(json)
    const fits = Number.isSafeInteger(nextSequence) && isListByBucket(configurations) && isListByBucket(jobs)
    return fits ? { nextSequence, configurations, jobs } : undefined
  } catch {
    return undefined
  }
}

function isListByBucket (value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every(Array.isArray)
}
