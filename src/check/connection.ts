import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import { withTimeout } from '../concurrency/with-timeout.ts'
import type { Config } from '../config/config.ts'
import type { Address } from '../cos/client/endpoints.ts'
import type { Report } from './finding.ts'

/** Limit of the look-up, and of the connection attempt, in milliseconds. */
const timeoutMs = 5_000

/** The first host of connections to COS, and the variable that names it. */
export interface Hop {
  host: string
  port: number
  variable: string
}

/** Returns the host that connections for an address go to first: `COS_CONNECT_TO`, the proxy, or COS itself. */
export function firstHop ({ connectTo, proxies, scheme }: Config['cos'], { origin }: Address): Hop {
  if (connectTo !== undefined) return { ...connectTo, variable: 'COS_CONNECT_TO' }
  const proxy = proxies[scheme]
  if (proxy !== undefined) return { ...hostAndPort(proxy.url.reveal()), variable: `${scheme.toUpperCase()}_PROXY` }
  return { ...hostAndPort(origin), variable: 'bucket and region' }
}

/** Checks that the name of a host resolves. Returns whether it does. */
export async function checkDns ({ host, variable }: Hop, report: Report): Promise<boolean> {
  const found = lookup(host)
  const fault = await faultOf(found)
  if (fault === undefined) report.ok(`${host} (${variable}) is ${(await found).address}.`)
  else report.error(`The name ${host} does not resolve: ${fault}. Correct ${variable}, or the DNS of this machine.`)
  return fault === undefined
}

/** Checks that a host accepts TCP connections. Sends nothing. Returns whether it does. */
export async function checkConnection ({ host, port, variable }: Hop, report: Report): Promise<boolean> {
  const socket = connect({ host, port })
  const fault = await faultOf(once(socket, 'connect'))
  socket.destroy()
  if (fault === undefined) report.ok(`${host}:${port} (${variable}) accepts connections.`)
  else {
    report.error(`${host}:${port} does not accept connections: ${fault}. Correct ${variable}, or let this machine ` +
      'reach it.')
  }
  return fault === undefined
}

/** Returns the code of a failure, TIMEOUT if there is no result in time, and undefined after a success. */
function faultOf (result: Promise<unknown>): Promise<string | undefined> {
  const codeOf = (error: NodeJS.ErrnoException) => String(error.code)
  return withTimeout(result.then(() => undefined, codeOf), timeoutMs, () => 'TIMEOUT')
}

function hostAndPort (url: string): { host: string, port: number } {
  const { hostname, port, protocol } = new URL(url)
  const defaultPort = protocol === 'https:' ? 443 : 80
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) }
}
