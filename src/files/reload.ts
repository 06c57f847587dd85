import type { Logger } from 'pino'
import { watchFiles } from './file-watch.ts'

/** Keeps what comes from files current. */
export interface Reloader {
  /**
   * From now on reads again what `files` hold, when one of them changes. To be called before the first reading, so that
   * no change is missed in between. What `reload` throws is logged; it must leave in force what was.
   */
  watch (name: string, files: readonly string[], reload: () => void | Promise<void>): void
  /** Reads everything again at once. */
  reloadAll (): Promise<void>
  close (): void
}

/** Nothing is watched yet. */
export function createReloader (log: Logger): Reloader {
  const reloads: Array<() => Promise<void>> = []
  const ends: Array<() => void> = []
  return {
    watch (name, files, reload) {
      const reloadAndLog = async () => {
        try {
          await reload()
          log.info({ what: name }, 'read again')
        } catch (error) {
          log.error({ what: name, cause: (error as Error).message }, 'not taken: what was read before stays in force')
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
