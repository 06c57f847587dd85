import type { Socket } from 'node:net'

/** The far end of a connection, by which the two sockets of one that speaks TLS can be told to belong together. */
export function farEndOf ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
