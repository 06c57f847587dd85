import { readListener } from './config/listener.ts'
import type { Listener } from './config/listener.ts'
import type { ConfigError } from './config/variable-reader.ts'

const timeoutMs = 2_000

/**
 * Checks the health of the service beside it. Exits with 0 if `/livez` returns 200, else with 1. If the service
 * requires client certificates, a finished handshake is enough, because this process has no certificate.
 */
function check ({ host, port, tls }: Listener): void {
  const own = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])
  // The certificate is not checked: it names the public host, and the request contains no secret.
  const unchecked = { host: own.get(host) ?? host, port, timeout: timeoutMs, rejectUnauthorized: false }
  const failed = ({ code }: NodeJS.ErrnoException) => { fail(String(code)) }
  const timedOut = () => { fail(`no response within ${timeoutMs} ms`) }

  // An import of node:http would evaluate all of its exports, and one of them loads undici.
  const send = (protocol: 'node:http' | 'node:https') => {
    const sent = process.getBuiltinModule(protocol).request({ ...unchecked, path: '/livez' })
    sent.on('response', ({ statusCode }) => {
      if (statusCode === 200) process.exit(0)
      fail(`GET /livez returned ${statusCode}`)
    })
    sent.on('error', failed).on('timeout', timedOut).end()
  }

  if (tls === undefined) send('node:http')
  else if (tls.clientCaFile === undefined) send('node:https')
  else process.getBuiltinModule('node:tls').connect(unchecked, () => process.exit(0)).on('error', failed).on('timeout', timedOut)
}

function fail (reason: string): never {
  console.error(`health check failed: ${reason}`)
  process.exit(1)
}

function listenerOrFail (): Listener {
  try {
    return readListener(process.env)
  } catch (error) {
    return fail((error as ConfigError).issues.join('; '))
  }
}

check(listenerOrFail())
