/**
 * What must never be written anywhere: the texts tests have made secrets of, and what looks like a credential
 * whoever made it. Everything a service, a program or a double logs in this suite goes through here.
 */
const known = new Set<string>()

const shapes = [
  /q-sign(ature|-algorithm|-time)/, /q-ak=/, /TC3-HMAC-SHA256/, /bearer +[A-Za-z0-9_-]{3}/i, /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+/,
  /cip_[A-Za-z0-9_-]{20}/, /PRIVATE KEY/, /rediss?:\/\/[^/]*@/
]

/** Makes a text one of the secrets. */
export function secret (text: string): string {
  known.add(text)
  return text
}

/**
 * @param written everything a program has put into its log
 * @throws {Error} when a secret is in it; the error says where, not what
 */
export function refuseSecrets (written: string): void {
  const found = [...known].map(text => written.indexOf(text)).concat(shapes.map(shape => written.search(shape)))
  const leaks = found.filter(index => index >= 0)
  if (leaks.length === 0) return
  const first = Math.min(...leaks)
  const start = written.lastIndexOf('\n', first) + 1
  throw new Error(`a secret was logged, in the line that begins with ${written.slice(start, Math.min(first, start + 200))}`)
}
