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
  /** The account of Tencent Cloud that the files belong to; undefined for other files. */
  account: string | undefined
}

export interface WatchOptions {
  /** As in {@link ReloadState}. */
  account?: string
  /** Returns the state of content that is also read at other times; without it, only reloads count. */
  freshness?: () => Freshness
}

/** Reloads files when they change. */
export interface Reloader {
  /**
   * Calls `reload` when one of the files changes, and not before an earlier call has ended. Must be called before the
   * first read, so that no change is missed. An error of `reload` is logged; the previous value must stay in effect.
   *
   * @returns a function that ends the watch
   */
  watch (
    name: string, files: readonly string[], reload: () => void | Promise<void>, options?: WatchOptions
  ): () => void
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
  const watches = new Set<{ state: () => ReloadState, reload: () => Promise<void>, end: () => void }>()
  return {
    watch (name, files, reload, { account, freshness } = {}) {
      const reloaded = { isCurrent: true, readAt: now() }
      const reloadAndLog = async () => {
        if (!watches.has(watch)) return
        try {
          await reload()
          Object.assign(reloaded, { isCurrent: true, readAt: now() })
          log.info({ what: name, account }, 'reloaded')
        } catch (error) {
          reloaded.isCurrent = false
          log.error({ what: name, account, cause: (error as Error).message }, 'reload failed, keeping previous value')
        }
      }
      let last = Promise.resolve()
      const reloadInOrder = () => {
        last = last.then(reloadAndLog)
        return last
      }
      const endWatch = watchFiles(files, () => { void reloadInOrder() })
      const watch = {
        state: () => ({ file: name, account, ...freshness?.() ?? reloaded }), reload: reloadInOrder, end: endWatch
      }
      watches.add(watch)
      return () => {
        endWatch()
        watches.delete(watch)
      }
    },
    async reloadAll () {
      await Promise.all([...watches].map(({ reload }) => reload()))
    },
    states: () => [...watches].map(({ state }) => state()),
    close () {
      for (const { end } of watches) end()
    }
  }
}
