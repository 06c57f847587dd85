import { request } from 'node:http'
import type { ClientRequest } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect } from 'node:tls'
import { readListener } from './config/config.ts'
import type { Listener } from './config/config.ts'
import type { ConfigError } from './config/environment.ts'

const timeoutMs = 2_000

/**
 * Checks the health of the service beside it. Exits with 0 if `/livez` returns 200, else with 1. If the service
 * requires client certificates, a finished handshake is enough, because this process has no certificate.
 */
function check ({ host, port, tls }: Listener): void {
  const own = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])
  const address = { host: own.get(host) ?? host, port, timeout: timeoutMs }
  // The certificate is not checked: it names the public host, and the request contains no secret.
  const unchecked = { ...address, rejectUnauthorized: false }
  const failed = ({ code }: NodeJS.ErrnoException) => { fail(String(code)) }
  const timedOut = () => { fail(`no response within ${timeoutMs} ms`) }

  const send = (sent: ClientRequest): void => {
    sent.on('response', ({ statusCode }) => {
      if (statusCode === 200) process.exit(0)
      fail(`GET /livez returned ${statusCode}`)
    })
    sent.on('error', failed).on('timeout', timedOut).end()
  }

  if (tls === undefined) send(request({ ...address, path: '/livez' }))
  else if (tls.clientCaFile === undefined) send(requestTls({ ...unchecked, path: '/livez' }))
  else connect(unchecked, () => process.exit(0)).on('error', failed).on('timeout', timedOut)
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
