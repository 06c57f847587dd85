import type { EmulatorBucket } from '../buckets.ts'
import type { Inventories } from '../inventories.ts'
import type { ObjectStore } from '../objects.ts'
import { dayOf, midnightOf } from './day.ts'
import { generateContents } from './generated-contents.ts'
import type { BucketContents } from './inventory-object.ts'
import { type ReportJob, readJob } from './job.ts'
import type { ReportDelivery, ReportForm } from './knobs.ts'
import { type ReportOrder, parseOrder } from './order.ts'
import { ReportRejection } from './rejection.ts'
import { type DeliveredReport, writeReport } from './write-report.ts'

export interface ReportDependencies {
  buckets: EmulatorBucket[]
  inventories: Inventories
  objects: ObjectStore
  /** Milliseconds since 1970. */
  now: () => number
}

/** The reports of all jobs. */
export interface Reports {
  /** @throws ReportRejection */
  deliver (order: ReportOrder): Promise<DeliveredReport>
  /** Ends all deliveries and forgets the contents of the buckets. */
  reset (): void
}

/** A report that is wanted. */
interface Run {
  bucket: string
  id: string
  job: ReportJob
  day: number
  lastModifiedMs: number
  form: ReportForm
  delivery: ReportDelivery
}

/** Reports arrive in the early morning (COS document 30622). */
const deliveryMs = 3 * 60 * 60 * 1000

const defaultContents = generateContents(1000, 1)

/** Creates the part of COS that makes reports. */
export function createReports ({ buckets, inventories, objects, now }: ReportDependencies): Reports {
  const contents = new Map<string, BucketContents>()
  let aborter = new AbortController()
  let number = 0

  async function run (request: Run): Promise<DeliveredReport> {
    const { bucket, job: { isEnabled, destination } } = request
    if (!isEnabled) throw new ReportRejection(409, 'the configuration is disabled')
    if (destination.format !== 'CSV') throw new ReportRejection(409, 'the emulator writes reports as CSV only')
    if (!buckets.some(({ name }) => name === destination.bucket)) {
      throw new ReportRejection(409, `the destination bucket ${destination.bucket} does not exist`)
    }
    const source = contents.get(bucket) ?? defaultContents
    return await writeReport({ ...request, contents: source, nowMs: now(), number: number++ }, objects, aborter.signal)
  }

  return {
    async deliver (value) {
      const parsed = parseOrder(value)
      if ('errors' in parsed) throw new ReportRejection(400, ...parsed.errors)
      const { bucket, id, day, form, delivery } = parsed.order
      const xml = inventories.find(bucket, id)
      if (xml === undefined) throw new ReportRejection(404, `${bucket} has no configuration and no one-time job ${id}`)
      if (parsed.order.contents !== undefined) contents.set(bucket, parsed.order.contents)
      const lastModifiedMs = day === undefined ? now() : arrivalOf(day, now())
      return await run({ bucket, id, job: readJob(xml), day: day ?? dayOf(now()), lastModifiedMs, form, delivery })
    },

    reset () {
      aborter.abort(new ReportRejection(409, 'the emulator was reset or closed'))
      aborter = new AbortController()
      contents.clear()
      number = 0
    }
  }
}

function arrivalOf (day: number, nowMs: number): number {
  return Math.min(nowMs, midnightOf(day) + deliveryMs)
}
