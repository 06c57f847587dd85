import { setImmediate as nextTurn } from 'node:timers/promises'
import { isReported, keyPrefixOf } from './filter.ts'
import type { BucketContents, InventoryObject } from './inventory-object.ts'
import type { ReportJob } from './job.ts'
import type { FileRows } from './csv.ts'
import type { ReportTotals } from './manifest.ts'

/** The rows of a report by data file. */
export interface Survey { totals: ReportTotals, files: FileRows[] }

/** A range of indexes, of which a number is in the report. */
interface Part { start: number, end: number, count: number }

const rowsPerTurn = 8192

/**
 * Counts the rows of a report, and divides them into data files. It goes through the contents once and keeps none of
 * them. Other work gets a turn in between.
 *
 * @throws the reason of the signal when it is aborted
 */
export async function survey (
  contents: BucketContents, job: ReportJob, rowsPerFile: number, signal: AbortSignal
): Promise<Survey> {
  const place = { keyPrefix: keyPrefixOf(job), allVersions: job.allVersions }
  const [listed, filtered] = [createSum(), createSum()]
  const parts: Part[] = []
  let part: Part | undefined
  for (let index = 0; index < contents.count; index++) {
    if (index % rowsPerTurn === 0) await takeTurn(signal)
    const object = contents.at(index, place)
    listed.add(object.Size ?? 0)
    if (!isReported(object, job)) continue
    filtered.add(object.Size ?? 0)
    if (part === undefined || part.count === rowsPerFile) parts.push(part = { start: index, end: index, count: 0 })
    part.end = index + 1
    part.count += 1
  }
  return {
    totals: {
      listObjectCount: listed.count,
      listStorageSize: listed.total(),
      filterObjectCount: filtered.count,
      filterStorageSize: filtered.total()
    },
    files: parts.map(({ start, end, count }) => ({
      count,
      read: function * (): Generator<InventoryObject> {
        for (let index = start; index < end; index++) {
          const object = contents.at(index, place)
          if (isReported(object, job)) yield object
        }
      }
    }))
  }
}

async function takeTurn (signal: AbortSignal): Promise<void> {
  await nextTurn()
  signal.throwIfAborted()
}

interface Sum { count: number, add (size: number): void, total (): bigint }

// A sum of sizes may exceed 2 ** 53, but BigInt is too slow for each object.
function createSum (): Sum {
  let whole = 0n
  let rest = 0
  return {
    count: 0,
    add (size) {
      this.count += 1
      if (rest > Number.MAX_SAFE_INTEGER - size) {
        whole += BigInt(rest)
        rest = 0
      }
      rest += size
    },
    total: () => whole + BigInt(rest)
  }
}
