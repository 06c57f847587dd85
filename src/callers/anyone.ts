import type { Callers } from './callers.ts'
import { parseCallers } from './callers-file.ts'

/** Creates the callers for AUTH=none: each request belongs to one caller, `anyone`, that has all permissions. */
export function createAnyone (): Pick<Callers, 'identify' | 'unreachable'> {
  const [anyone] = parseCallers(JSON.stringify({
    callers: [{ name: 'anyone', keys: [], allow: [{ actions: ['cos:*', 'reports:*'], buckets: ['*'], destinations: ['*'] }] }]
  }))
  return { identify: async () => anyone, unreachable: () => [] }
}
