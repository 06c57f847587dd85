import type { Logger } from 'pino'
import { watchFiles } from './file-watch.ts'

/** Reloads files when they change. */
export interface Reloader {
  /**
   * Calls `reload` when one of the files changes. Must be called before the first read, so that no change is missed. An
   * error of `reload` is logged; the previous value must stay in effect then.
   */
  watch (name: string, files: readonly string[], reload: () => void | Promise<void>): void
  /** Reloads all files at once. */
  reloadAll (): Promise<void>
  close (): void
}

/** Creates a reloader that watches no file yet. */
export function createReloader (log: Logger): Reloader {
  const reloads: Array<() => Promise<void>> = []
  const ends: Array<() => void> = []
  return {
    watch (name, files, reload) {
      const reloadAndLog = async () => {
        try {
          await reload()
          log.info({ what: name }, 'reloaded')
        } catch (error) {
          log.error({ what: name, cause: (error as Error).message }, 'reload failed, keeping previous value')
        }
      }
      reloads.push(reloadAndLog)
      ends.push(watchFiles(files, () => { void reloadAndLog() }))
    },
    async reloadAll () {
      await Promise.all(reloads.map(each => each()))
    },
    close () {
      for (const end of ends) end()
    }
  }
}
