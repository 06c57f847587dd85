import type { Inventories } from '../cos/inventories.ts'

/**
 * Returns inventories that check at the start of each change whether it may be sent to COS. A change that waits for a
 * permit is not checked again.
 *
 * @param check throws if no change may be sent
 */
export function createCheckedInventories (inventories: Inventories, check: () => void): Inventories {
  return {
    ...inventories,
    async put (...change) {
      check()
      return await inventories.put(...change)
    },
    async delete (...change) {
      check()
      return await inventories.delete(...change)
    },
    async post (...change) {
      check()
      return await inventories.post(...change)
    }
  }
}
