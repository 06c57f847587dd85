import type { Logger } from 'pino'
import { watchFiles } from './file-watch.ts'

/** Whether the content in effect is that of the files. */
export interface Freshness {
  /** Whether the last reload succeeded; true before the first one. */
  isCurrent: boolean
  /** When the content in effect was read, in milliseconds since 1970; undefined if no file was read. */
  readAt: number | undefined
}

/** The result of the last reload of some files. */
export interface ReloadState extends Freshness {
  /** The variable that names the files, such as `CALLERS_FILE`. */
  file: string
}

/** Reloads files when they change. */
export interface Reloader {
  /**
   * Calls `reload` when one of the files changes. Must be called before the first read, so that no change is missed. An
   * error of `reload` is logged; the previous value must stay in effect then.
   *
   * @param freshness the state of content that is also read at other times; without it, only reloads count
   */
  watch (
    name: string, files: readonly string[], reload: () => void | Promise<void>, freshness?: () => Freshness
  ): void
  /** Reloads all files at once. */
  reloadAll (): Promise<void>
  /** Returns the results of the last reloads, in the order of the calls of `watch`. */
  states (): readonly Readonly<ReloadState>[]
  close (): void
}

/**
 * Creates a reloader that watches no file yet.
 *
 * @param now wall clock, in milliseconds since 1970
 */
export function createReloader (log: Logger, now: () => number): Reloader {
  const states: Array<() => ReloadState> = []
  const reloads: Array<() => Promise<void>> = []
  const ends: Array<() => void> = []
  return {
    watch (name, files, reload, freshness) {
      const reloaded = { isCurrent: true, readAt: now() }
      states.push(() => ({ file: name, ...freshness?.() ?? reloaded }))
      const reloadAndLog = async () => {
        try {
          await reload()
          Object.assign(reloaded, { isCurrent: true, readAt: now() })
          log.info({ what: name }, 'reloaded')
        } catch (error) {
          reloaded.isCurrent = false
          log.error({ what: name, cause: (error as Error).message }, 'reload failed, keeping previous value')
        }
      }
      reloads.push(reloadAndLog)
      ends.push(watchFiles(files, () => { void reloadAndLog() }))
    },
    async reloadAll () {
      await Promise.all(reloads.map(each => each()))
    },
    states: () => states.map(state => state()),
    close () {
      for (const end of ends) end()
    }
  }
}
