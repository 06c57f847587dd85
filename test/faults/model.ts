/** Which configuration an id has: the number that its PUT was given, or none. */
export type Version = number
export const none: Version = 0

/**
 * What may be true of one id while its writes are acknowledged, refused, or lost without a trace. One write at a time;
 * reads at any time, also during one.
 */
export interface Entry {
  readonly bucket: string
  readonly id: string
  /** Nobody knows when a write of it ends, so that no other may begin. */
  isRetired: boolean
  readonly isBeingWritten: boolean
  /** A read begins; `end` gives everything that it may find. */
  read (): { end: () => ReadonlySet<Version> }
  /** A write begins. */
  write (version: Version): {
    /** It was made. */
    acknowledge: () => void
    /** It was not made, and never will be. */
    refuse: () => void
    /** It was made, or was not. */
    lose: () => void
  }
  /** What may be true now. */
  possible (): ReadonlySet<Version>
}

/** An id that is not there yet. */
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
      return { acknowledge: endWith(new Set([version])), refuse: endWith(before), lose: endWith(possible) }
    }
  }
}
