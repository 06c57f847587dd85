import { request } from 'node:http'
import type { ClientRequest } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect } from 'node:tls'
import { readConfig } from './config.ts'

/**
 * The health check of the image: exit code 0 when the service beside it answers /livez, else 1. Where clients must show
 * a certificate, which this has none of, a finished handshake is the sign of life.
 */
const { host, port, tls } = readConfig(process.env)
const own = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])
const address = { host: own.get(host) ?? host, port, timeout: 2_000 }
// The certificate is for the callers' name of this host, not for localhost; nothing is sent that needs protection.
const unchecked = { ...address, rejectUnauthorized: false }

const fail = (): never => process.exit(1)
const ask = (asked: ClientRequest): void => {
  asked.on('response', ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
  asked.on('error', fail).on('timeout', fail).end()
}

if (tls === undefined) ask(request({ ...address, path: '/livez' }))
else if (tls.clientCaFile === undefined) ask(requestTls({ ...unchecked, path: '/livez' }))
else connect(unchecked, () => process.exit(0)).on('error', fail).on('timeout', fail)
