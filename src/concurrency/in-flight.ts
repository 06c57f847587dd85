/** Counts work in flight. */
export interface InFlight {
  start (): void
  end (): void
  /** Waits until no work is in flight, including work that starts meanwhile. */
  settled (): Promise<void>
}

/** Creates a counter at zero. */
export function createInFlight (): InFlight {
  let count = 0
  let waiting: Array<() => void> = []

  async function settled (): Promise<void> {
    if (count === 0) return
    await new Promise<void>(resolve => { waiting.push(resolve) })
    await settled()
  }

  return {
    start () { count += 1 },
    end () {
      count -= 1
      if (count > 0) return
      for (const resolve of waiting) resolve()
      waiting = []
    },
    settled
  }
}
