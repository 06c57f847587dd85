import { statSync } from 'node:fs'

const intervalMs = 1000

/**
 * Calls back within about a second when a file or its content has changed. Polls instead of using notifications.
 * Polling also detects links that Kubernetes swaps, renames, bind mounts and network file systems.
 *
 * @returns a function that ends the watch
 */
export function watchFiles (paths: readonly string[], onChange: () => void): () => void {
  let known = fingerprint(paths)
  const timer = setInterval(() => {
    const found = fingerprint(paths)
    if (found === known) return
    known = found
    onChange()
  }, intervalMs).unref()
  return () => { clearInterval(timer) }
}

function fingerprint (paths: readonly string[]): string {
  return paths.map(path => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code)
    }
  }).join()
}
