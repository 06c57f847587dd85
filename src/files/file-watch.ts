import { statSync } from 'node:fs'

const intervalMs = 1000

/**
 * Calls back within about a second after one of the files has become another or has another content. It looks instead
 * of being told: that also sees the links that Kubernetes swaps, renames, bind mounts and network file systems.
 *
 * @returns ends it
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
