import t from 'tap'
import { decideRetry } from '../../src/cos/client/retry-policy.ts'
import type { FailedAttempt, RetryDecision } from '../../src/cos/client/retry-policy.ts'

type Changes = Partial<Omit<FailedAttempt, 'failure'>> & Partial<FailedAttempt['failure']>

/** Decides about the first of three attempts, with all its time left. */
function decide ({ remedy = 'retry', wasSent = true, waitMs = 0, ...changes }: Changes): RetryDecision {
  return decideRetry({
    failure: { remedy, wasSent, waitMs },
    method: 'GET',
    number: 1,
    maxAttempts: 3,
    used: [],
    remainingMs: 15_000,
    hasBudget: true,
    random: 0.5,
    ...changes
  })
}

const giveUp = { action: 'give-up', denial: undefined } as const
const overDeadline = { action: 'give-up', denial: 'deadline' } as const
const overBudget = { action: 'give-up', denial: 'budget' } as const
const retryAfter = (delayMs: number) => ({ action: 'retry', delayMs }) as const

const cases: Record<string, Array<[Changes, RetryDecision]>> = {
  'call is not retried when the failure is permanent': [
    [{ remedy: 'none' }, giveUp],
    [{ remedy: 'none', wasSent: false, method: 'PUT' }, giveUp]
  ],
  'call is retried when the failure is transient and attempts are left': [
    [{ number: 2 }, retryAfter(100)],
    [{ number: 3 }, giveUp],
    [{ maxAttempts: 1 }, giveUp],
    [{ method: 'PUT' }, retryAfter(50)],
    [{ method: 'DELETE', used: ['retry'] }, retryAfter(50)]
  ],
  'POST is retried when the request was not sent': [
    [{ method: 'POST' }, giveUp],
    [{ method: 'POST', wasSent: false }, retryAfter(50)],
    [{ method: 'POST', remedy: 'retry-once' }, giveUp]
  ],
  'remedies other than retry are used once per call': [
    [{ remedy: 'retry-once', used: ['retry'] }, retryAfter(50)],
    [{ remedy: 'retry-once', used: ['retry-once'] }, giveUp],
    [{ remedy: 'refresh-credentials', used: ['refresh-credentials'] }, giveUp],
    [{ remedy: 'correct-clock', used: ['correct-clock', 'refresh-credentials'] }, giveUp]
  ],
  'credentials and clock are corrected when time, budget or attempts are used up': [
    [{ remedy: 'refresh-credentials' }, { action: 'refresh-credentials', thenRetry: true }],
    [{ remedy: 'refresh-credentials', number: 3 }, { action: 'refresh-credentials', thenRetry: false }],
    [{ remedy: 'correct-clock', method: 'POST' }, { action: 'correct-clock', thenRetry: true }],
    [{ remedy: 'correct-clock', number: 3 }, { action: 'correct-clock', thenRetry: false }],
    [{ remedy: 'correct-clock', remainingMs: 0, hasBudget: false }, { action: 'correct-clock', thenRetry: true }]
  ],
  'pause doubles up to two seconds, multiplied by the random number': [
    [{ random: 0 }, retryAfter(0)],
    [{ number: 5, maxAttempts: 10 }, retryAfter(800)],
    [{ number: 6, maxAttempts: 10 }, retryAfter(1_000)],
    [{ number: 9, maxAttempts: 10, random: 0.25 }, retryAfter(500)]
  ],
  'pause is added to the time that COS requests': [
    [{ waitMs: 7_000 }, retryAfter(7_050)],
    [{ waitMs: 7_000, random: 0 }, retryAfter(7_000)]
  ],
  'call is not retried when the pause reaches the deadline': [
    [{ remainingMs: 50 }, overDeadline],
    [{ remainingMs: 51 }, retryAfter(50)],
    [{ remainingMs: 0, random: 0 }, overDeadline],
    [{ remainingMs: -1, random: 0 }, overDeadline],
    [{ waitMs: 15_000, hasBudget: false }, overDeadline]
  ],
  'call is not retried when the budget is used up': [
    [{ hasBudget: false }, overBudget],
    [{ hasBudget: false, number: 3 }, giveUp]
  ]
}

for (const [title, rows] of Object.entries(cases)) {
  t.test(title, async t => {
    for (const [changes, decision] of rows) t.strictSame(decide(changes), decision, JSON.stringify(changes))
  })
}
