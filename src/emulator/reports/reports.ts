import type { EmulatorBucket } from '../buckets.ts'
import type { Inventories } from '../inventories.ts'
import type { ObjectStore } from '../objects.ts'
import { dayOf, midnightOf } from './day.ts'
import { generateContents } from './generated-contents.ts'
import type { BucketContents } from './inventory-object.ts'
import { type ReportJob, type Schedule, readJob } from './job.ts'
import { type ReportDelivery, type ReportForm, reportKnobs, withDefaults } from './knobs.ts'
import { type ReportOrder, parseOrder } from './order.ts'
import { ReportRejection } from './rejection.ts'
import { dueDays } from './schedule.ts'
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
  /** Begins the reports that have become due since the last call. */
  startDue (): void
  /** Resolves when the reports that were begun by `startDue` are delivered. */
  settled (): Promise<void>
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

/** COS delivers one-time jobs within about 30 minutes (COS document 46869). The emulator needs exactly these. */
const oneTimeMs = 30 * 60 * 1000

/** Reports arrive in the early morning (COS document 30622). */
const deliveryMs = 3 * 60 * 60 * 1000

const defaultContents = generateContents(1000, 1)
const asDocumented = { form: withDefaults(reportKnobs.form), delivery: withDefaults(reportKnobs.delivery) }

/** Creates the part of COS that makes reports. */
export function createReports ({ buckets, inventories, objects, now }: ReportDependencies): Reports {
  const contents = new Map<string, BucketContents>()
  let aborter = new AbortController()
  let due: Promise<unknown> = Promise.resolve()
  let checkedMs = now()
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

  /** Adds a report to those that follow each other. COS does not say why a delivery fails. */
  function queue (request: Run): void {
    const { signal } = aborter
    due = due.then(() => signal.aborted ? undefined : run(request)).catch(() => {})
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

    startDue () {
      const [afterMs, untilMs] = [checkedMs, now()]
      checkedMs = untilMs
      for (const request of findDue(inventories, afterMs, untilMs)) queue(request)
    },

    async settled () { await due },

    reset () {
      aborter.abort(new ReportRejection(409, 'the emulator was reset or closed'))
      aborter = new AbortController()
      contents.clear()
      checkedMs = now()
      number = 0
    }
  }
}

/** Returns the reports that become due after one time and until another: one-time jobs, then periodic ones by day. */
function findDue (inventories: Inventories, afterMs: number, untilMs: number): Run[] {
  const once = inventories.jobs(afterMs - oneTimeMs, untilMs - oneTimeMs).map(({ bucket, id, xml, createdAtMs }) => ({
    bucket, id, job: readJob(xml), day: dayOf(createdAtMs), lastModifiedMs: createdAtMs + oneTimeMs, ...asDocumented
  }))
  // Every request asks, so documents are read only after a midnight.
  if (dayOf(afterMs) >= dayOf(untilMs)) return once
  const periodic = inventories.configurations().flatMap(({ bucket, id, xml, putAtMs }) => {
    const job = readJob(xml)
    const days = dueDays(job.schedule as Schedule, putAtMs, afterMs, untilMs)
    return days.map(day => ({ bucket, id, job, day, lastModifiedMs: arrivalOf(day, untilMs), ...asDocumented }))
  })
  return [...once, ...periodic.sort((one, other) => one.day - other.day)]
}

function arrivalOf (day: number, nowMs: number): number {
  return Math.min(nowMs, midnightOf(day) + deliveryMs)
}
