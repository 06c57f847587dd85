/** The configuration of an id: the number of its PUT, or none. */
export type Version = number
export const none: Version = 0

/**
 * The possible states of one id while its writes are acknowledged, rejected or lost. There is one write at a time, and
 * reads at any time.
 */
export interface Entry {
  readonly bucket: string
  readonly id: string
  /** A write has an unknown end, so no other write may begin. */
  isRetired: boolean
  readonly isBeingWritten: boolean
  /** Begins a read; `end` returns all versions that it may find. */
  read (): { end: () => ReadonlySet<Version> }
  /** Begins a write. */
  write (version: Version): {
    /** The write was made. */
    acknowledge: () => void
    /** The write was not and will not be made. */
    reject: () => void
    /** The write may have been made. */
    lose: () => void
  }
  /** Returns all versions that may be stored now. */
  possible (): ReadonlySet<Version>
}

/** Creates an id without a configuration. */
export function createEntry (bucket: string, id: string): Entry {
  let possible = new Set([none])
  let isBeingWritten = false
  const readers = new Set<Set<Version>>()
  return {
    bucket,
    id,
    isRetired: false,
    get isBeingWritten () { return isBeingWritten },
    possible: () => possible,
    read () {
      const allowed = new Set(possible)
      readers.add(allowed)
      return {
        end () {
          readers.delete(allowed)
          return allowed
        }
      }
    },
    write (version) {
      const before = new Set(possible)
      isBeingWritten = true
      possible.add(version)
      for (const allowed of readers) allowed.add(version)
      const endWith = (versions: Set<Version>) => () => {
        possible = versions
        isBeingWritten = false
      }
      return { acknowledge: endWith(new Set([version])), reject: endWith(before), lose: endWith(possible) }
    }
  }
}
