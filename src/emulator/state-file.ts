import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

/** A configuration. The time of its last PUT is in milliseconds since 1970. */
export interface StoredInventory { id: string, sequence: number, xml: string, putAtMs: number }

/** A one-time job. */
export interface Job { id: string, createdAtMs: number, xml: string }

/** The whole state of the emulator by bucket. A sequence is never reused, even after a deletion. */
export interface State {
  nextSequence: number
  configurations: Record<string, StoredInventory[]>
  jobs: Record<string, Job[]>
}

export interface StateStore {
  load (): State
  /** Stores the state. @throws Error when it cannot be stored */
  save (state: State): void
}

/** Stores nothing. */
export const volatileState: StateStore = {
  load: emptyState,
  save () {}
}

/**
 * Creates a store that keeps the state in a JSON file. The store writes a second file and renames it. So the file is
 * whole even after the process is killed. It is not flushed to the disk, so a power cut may lose the last changes.
 */
export function createStateFile (path: string): StateStore {
  return {
    load () {
      const state = existsSync(path) ? parseState(readFileSync(path, 'utf8')) : emptyState()
      if (state === undefined) throw new Error(`${path} is not a state file of this emulator`)
      // An unwritable file fails the start, not the first change.
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

/** Returns the state of a new emulator. */
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
