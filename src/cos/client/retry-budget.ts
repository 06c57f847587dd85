/** Retries that each call earns; each second earns as many. */
const earned = 0.1
/** Retries that a host can save. It starts with as many. */
const mostOfHost = 20
/** Retries that all hosts can save together: enough for several failing hosts at a time. */
const mostOfAll = 50
/** Hosts that are remembered. A forgotten host starts with a full account. */
const mostHosts = 1_000

/** Limits retries during an outage, for each host and for all hosts together. */
export interface RetryBudget {
  /** Records the start of a call, which earns a part of a retry. */
  earn (host: string): void
  /** Tells whether one more retry may be spent. */
  has (host: string): boolean
  /** Spends a retry, if there is one, and tells whether there was. */
  spend (host: string): boolean
}

interface Account {
  most: number
  balance: number
  /** Instant of the monotonic clock, in milliseconds. */
  updatedAt: number
}

/**
 * Creates a budget with full accounts. Retries may be a tenth of all calls, plus one every ten seconds for services
 * with few calls. Twenty can be saved for a short outage of one host, and fifty for several hosts.
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

  /** Returns the current account of a host. A new account is not stored yet. */
  function accountOf (host: string): Account {
    const account = hosts.get(host) ?? open(mostOfHost)
    add(account, 0)
    add(total, 0)
    return account
  }

  const isCovered = (account: Account) => account.balance >= 1 && total.balance >= 1

  return {
    earn (host) {
      add(total, earned)
      const account = hosts.get(host)
      if (account === undefined) return
      add(account, earned)
      // A host without an account counts as full.
      if (account.balance === account.most) hosts.delete(host)
    },
    has: host => isCovered(accountOf(host)),
    spend (host) {
      const account = accountOf(host)
      if (!isCovered(account)) return false
      account.balance -= 1
      total.balance -= 1
      hosts.set(host, account)
      const [oldest] = hosts.keys()
      if (hosts.size > mostHosts && oldest !== undefined) hosts.delete(oldest)
      return true
    }
  }
}
