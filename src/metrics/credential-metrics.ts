import type { Instruments } from './instruments.ts'

/** The credentials of an account. */
export interface AccountReading {
  /** APPID or `default`. The accounts file bounds their number. */
  account: string
  /** Whether they are valid. */
  isAvailable: boolean
  /** Milliseconds since 1970; undefined if the credentials do not expire or there are none. */
  expiresAt: number | undefined
}

/** Adds the metrics of the credentials of each account. */
export function addCredentialReadings ({ gauge }: Instruments, credentials: () => readonly AccountReading[]): void {
  // Accounts come and go. A series of an account that was removed must end.
  gauge('cos_credentials_available', '1 while the account has valid credentials, else 0.', ['account'], each => {
    each.reset()
    for (const { account, isAvailable } of credentials()) each.set({ account }, Number(isAvailable))
  })
  gauge('cos_credentials_expiry_timestamp_seconds', 'Expiry of the current credentials of the account, if they expire.', ['account'], each => {
    each.reset()
    for (const { account, expiresAt } of credentials()) {
      if (expiresAt !== undefined) each.set({ account }, expiresAt / 1000)
    }
  })
}
