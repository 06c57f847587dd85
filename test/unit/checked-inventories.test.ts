import t from 'tap'
import { createCheckedInventories } from '../../src/changes/checked-inventories.ts'
import type { Call, Inventories } from '../../src/cos/inventories.ts'

t.test('put, delete and post reject and send nothing when the check throws', async t => {
  const sent: string[] = []
  const record = (name: string) => async () => { sent.push(name) }
  const inventories = Object.fromEntries(['put', 'delete', 'post', 'get'].map(name => [name, record(name)]))
  let isAllowed = false
  const checked = createCheckedInventories(inventories as unknown as Inventories, () => {
    if (!isAllowed) throw new Error('rejected')
  })
  const call = {} as Call
  const changes: Array<() => Promise<unknown>> = [() => checked.put(call, 'a', {}), () => checked.delete(call, 'a'), () => checked.post(call, 'a', {})]
  for (const change of changes) await t.rejects(change(), { message: 'rejected' })
  await checked.get(call, 'a')
  t.strictSame(sent, ['get'])
  isAllowed = true
  for (const change of changes) await change()
  t.strictSame(sent, ['get', 'put', 'delete', 'post'])
})
