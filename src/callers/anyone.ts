import type { Callers } from './callers.ts'
import { toCaller } from './callers-file.ts'

/** Creates the callers for AUTH=none: each request belongs to one caller, `anyone`, that has all permissions. */
export function createAnyone (): Pick<Callers, 'identify' | 'unreachable'> {
  const anyone = toCaller({
    name: 'anyone', allow: [{ actions: ['cos:*', 'reports:*'], buckets: ['*'], destinations: ['*'] }]
  })
  return { identify: async () => anyone, unreachable: () => [] }
}
