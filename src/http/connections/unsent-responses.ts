import type { Exchange } from './connection.ts'

/** Responses whose bodies clients have not read yet. */
export class UnsentResponses {
  /** Exchanges in the order of their responses. */
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

  /** Removes a response that has been sent or will never be sent. */
  remove (exchange: Exchange): void {
    if (this.#exchanges.delete(exchange)) this.#count(exchange, -exchange.unsentBytes)
  }

  /** Returns the exchanges, the oldest response first. Its client reads the slowest. */
  oldestFirst (): Iterable<Exchange> {
    return this.#exchanges
  }

  #count ({ connection }: Exchange, bytes: number): void {
    this.#bytes += bytes
    if (connection !== undefined) connection.unsentBytes += bytes
  }
}
