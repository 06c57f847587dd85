/**
 * Texts that no output may contain: secrets of tests and texts in the form of credentials. Every log of a service,
 * program or double in this suite is checked here.
 */
const known = new Set<string>()

const shapes = [
  /q-sign(ature|-algorithm|-time)/, /q-ak=/, /TC3-HMAC-SHA256/, /bearer +[A-Za-z0-9_-]{3}/i, /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+/,
  /cip_[A-Za-z0-9_-]{20}/, /PRIVATE KEY/, /rediss?:\/\/[^/]*@/
]

/** Adds a text to the secrets. */
export function secret (text: string): string {
  known.add(text)
  return text
}

/**
 * Checks the whole log of a program.
 *
 * @throws {Error} when it contains a secret; the error quotes only the text before it
 */
export function refuseSecrets (written: string): void {
  const found = [...known].map(text => written.indexOf(text)).concat(shapes.map(shape => written.search(shape)))
  const leaks = found.filter(index => index >= 0)
  if (leaks.length === 0) return
  const first = Math.min(...leaks)
  const start = written.lastIndexOf('\n', first) + 1
  throw new Error(`a secret was logged, in the line that begins with ${written.slice(start, Math.min(first, start + 200))}`)
}
