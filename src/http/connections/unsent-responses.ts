import type { Exchange } from './connection.ts'

/** The bodies of responses that clients have not taken yet. */
export class UnsentResponses {
  /** The oldest response first. */
  readonly #exchanges = new Set<Exchange>()
  #bytes = 0

  /** Bytes over all connections. */
  get bytes (): number {
    return this.#bytes
  }

  /** Counts the body of a response. */
  add (exchange: Exchange, bytes: number): void {
    exchange.unsentBytes = bytes
    this.#exchanges.add(exchange)
    this.#count(exchange, bytes)
  }

  /** Forgets a response that has been sent or never will be. */
  remove (exchange: Exchange): void {
    if (this.#exchanges.delete(exchange)) this.#count(exchange, -exchange.unsentBytes)
  }

  /** Returns the exchanges, the oldest response first: its client reads the least. */
  oldestFirst (): Iterable<Exchange> {
    return this.#exchanges
  }

  #count ({ connection }: Exchange, bytes: number): void {
    this.#bytes += bytes
    if (connection !== undefined) connection.unsentBytes += bytes
  }
}
