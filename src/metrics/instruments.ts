import { Counter, Gauge, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'

/** Upper bounds of histogram buckets in seconds, up to the deadline of a request. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30]

/** Creates the functions that add a metric to a registry. Metrics with `read` get their values at each scrape. */
export function createInstruments (registry: Registry) {
  const registers = [registry]
  const counter = <T extends string>(
    name: string, help: string, labelNames: T[], read?: (counter: Counter<T>) => void
  ) => new Counter({ name, help, labelNames, registers, ...read && { collect () { read(this) } } })
  const gauge = <T extends string>(
    name: string, help: string, labelNames: T[], read?: (gauge: Gauge<T>) => void
  ) => new Gauge({ name, help, labelNames, registers, ...read && { collect () { read(this) } } })

  return {
    counter,
    histogram: <T extends string>(name: string, help: string, labelNames: T[]) =>
      new Histogram({ name, help, labelNames, buckets, registers }),
    gauge,
    /** Adds a gauge without labels that is read at each scrape. */
    reading: (name: string, help: string, read: () => number) => gauge(name, help, [], each => { each.set(read()) })
  }
}

/** Functions that add a metric to a registry. */
export type Instruments = ReturnType<typeof createInstruments>
