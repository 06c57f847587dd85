/** Retries that a call, or a second without any, earns. */
const earned = 0.1
/** What a host can save, and has at the start. */
const mostOfHost = 20
/** What all can save together: enough for several hosts in trouble at a time. */
const mostOfAll = 50
/** Hosts that are remembered; one that is forgotten starts with everything again, within what all have together. */
const mostHosts = 1_000

/** Keeps an outage from being multiplied by retries, of one host and of all together. */
export interface RetryBudget {
  /** A call begins. */
  earn (host: string): void
  /** Whether there may be one more retry, which is then spent. */
  spend (host: string): boolean
}

interface Account {
  most: number
  balance: number
  /** Instant of the monotonic clock, in milliseconds. */
  updatedAt: number
}

/**
 * Retries may be a tenth of all calls, and one every ten seconds besides for services that have few; twenty can be
 * saved up for a short fault of one host, and fifty for several.
 *
 * @param now monotonic clock, in milliseconds
 */
export function createRetryBudget (now: () => number): RetryBudget {
  const open = (most: number): Account => ({ most, balance: most, updatedAt: now() })
  const total = open(mostOfAll)
  const hosts = new Map<string, Account>()

  function add (account: Account, amount: number): void {
    const at = now()
    const seconds = Math.max(0, at - account.updatedAt) / 1000
    account.balance = Math.min(account.most, account.balance + amount + seconds * earned)
    account.updatedAt = at
  }

  return {
    earn (host) {
      add(total, earned)
      const account = hosts.get(host)
      if (account === undefined) return
      add(account, earned)
      // A full account says no more than none.
      if (account.balance === account.most) hosts.delete(host)
    },
    spend (host) {
      const account = hosts.get(host) ?? open(mostOfHost)
      add(account, 0)
      add(total, 0)
      if (account.balance < 1 || total.balance < 1) return false
      account.balance -= 1
      total.balance -= 1
      hosts.set(host, account)
      const [oldest] = hosts.keys()
      if (hosts.size > mostHosts && oldest !== undefined) hosts.delete(oldest)
      return true
    }
  }
}
