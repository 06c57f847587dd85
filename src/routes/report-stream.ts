/** The common parts of responses with rows and with data files. */
import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Outcome } from '../cos/inventories.ts'
import type { OpenObject, ReportObjects } from '../cos/report-objects.ts'
import type { AuditTrail } from '../http/audit-trail.ts'
import { onExchangeEnd } from '../http/connections/connection.ts'
import type { Metrics } from '../metrics.ts'
import type { DataFile } from '../reports/manifest.ts'
import { corrupt } from '../reports/manifest.ts'
import { ServiceError } from '../errors.ts'
import { incomplete } from '../reports/reports.ts'
import type { RowProgress } from '../reports/row-stream.ts'
import type { StreamSlots } from '../reports/stream-slots.ts'
import type { Target } from './report-source.ts'

/** The parts that responses with rows and data files need. */
export interface StreamOptions {
  auditTrail: AuditTrail
  metrics: Pick<Metrics, 'rowsSent'>
  objects: ReportObjects
  slots: StreamSlots
  /** Whether callers differ by address only, because authentication is disabled. */
  byAddress: boolean
  /** Time for opening a data file, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
}

/** The data files of a report, of which one is read at a time. */
export interface OpenFiles {
  /** @throws {ServiceError} ReportIncomplete, and the errors of COS */
  open (file: DataFile, range?: string): Promise<Outcome<OpenObject>>
  /** Closes the file that is being read. */
  close (): void
}

/** Creates the data files of a report. */
export function createFiles (
  { call, source }: Target, { objects, deadlineMs, steadyNow }: Pick<StreamOptions, 'objects' | 'deadlineMs' | 'steadyNow'>
): OpenFiles {
  let current: Readable | undefined
  let isClosed = false
  return {
    async open ({ key, size }, range) {
      // A later file is opened long after the deadline of the request.
      const opening = { ...call, deadlineAt: steadyNow() + deadlineMs }
      const { value, cos } = await objects.open(opening, source.folder, key, range)
      if (value === undefined) throw incomplete('A data file that the manifest names does not exist.')
      current = value.stream
      // The client may have disconnected while the file was opened.
      if (isClosed) current.destroy()
      if (range === undefined && size !== undefined && value.length !== undefined && value.length !== size) {
        current.on('error', () => {}).destroy()
        throw corrupt('a data file has another size than the manifest says')
      }
      return { value, cos }
    },
    close () {
      isClosed = true
      current?.destroy()
    }
  }
}

/**
 * Takes a slot until the response has ended. The manifest is read in a slot, too, because it can be large.
 *
 * @throws {ServiceError} Overloaded; HTTPVersionNotSupported for HTTP/1.0, where an incomplete response looks complete
 */
export function takeSlot (
  { raw, context: { caller, clientAddress, exchange } }: FastifyRequest, { slots, byAddress }: StreamOptions
): void {
  if (raw.httpVersion === '1.0') {
    throw new ServiceError('HTTPVersionNotSupported', 'Rows and data files need HTTP/1.1, because an incomplete ' +
      'response to HTTP/1.0 looks complete. In nginx, set proxy_http_version 1.1.')
  }
  onExchangeEnd(exchange, slots.take(`${caller?.name} ${byAddress ? clientAddress : ''}`))
}

/**
 * Records the response when it has ended.
 *
 * @param date day of the report
 * @returns the counters that the response must keep up to date
 */
export function beginStream (
  request: FastifyRequest, reply: FastifyReply, date: string, { auditTrail, metrics }: StreamOptions
): RowProgress {
  const progress: RowProgress = { rows: 0, read: 0, bytes: 0 }
  auditTrail.beginStream(request, { date, progress })
  onExchangeEnd(request.context.exchange, () => {
    metrics.rowsSent(progress)
    auditTrail.endStream(request, reply)
  })
  return progress
}
