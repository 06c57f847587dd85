import t from 'tap'
import { createRetryBudget } from '../../src/cos/client/retry-budget.ts'

t.test('budget allows a tenth of the calls as retries, plus the saved ones', async t => {
  let time = 0
  const budget = createRetryBudget(() => time)
  const outage = (host: string, calls: number, msBetween: number) => {
    let retries = 0
    for (let count = 0; count < calls; count++) {
      time += msBetween
      budget.earn(host)
      while (budget.spend(host)) retries += 1
    }
    return retries
  }
  const first = outage('a', 1_000, 1)
  t.ok(first <= 20 + 100 + 1 && first >= 118, `${first} for 1,000 calls`)
  t.ok(outage('a', 1_000, 1) <= 101, 'the saved retries are spent')
  t.ok(outage('b', 10, 1) >= 20, 'another host has its own account')
  t.ok(outage('a', 60, 60_000) > 60, 'every call may be retried at a low rate')
  const many = Array.from({ length: 3_000 }, (_, index) => outage(`host-${index}`, 1, 0)).reduce((sum, count) => sum + count, 0)
  t.ok(many <= 50 + 300 + 1, `${many} retries over 3,000 hosts with a call each`)
})

t.test('budget of a host is full again an hour after its outage', async t => {
  let time = 0
  const budget = createRetryBudget(() => time)
  for (let count = 0; count < 20; count++) t.strictSame([budget.has('a'), budget.has('a'), budget.spend('a')], [true, true, true])
  t.strictSame([budget.has('a'), budget.spend('a')], [false, false])
  time += 3_600_000
  budget.earn('a')
  for (let count = 0; count < 20; count++) t.ok(budget.spend('a'))
  time -= 7_200_000
  t.notOk(budget.spend('a'), 'a backward clock step adds no budget')
})
