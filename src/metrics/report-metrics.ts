import type { Instruments } from './instruments.ts'

/** The latest report of a configuration. */
export interface CheckedReport {
  /** Milliseconds since 1970; undefined when there is no report. */
  deliveredAt: number | undefined
  objects: number | undefined
  bytes: number | undefined
  /** Called at each scrape. */
  isStale: () => boolean
}

/** Counts what is sent of delivered reports, and publishes how old they are. */
export interface ReportMetrics {
  /** Counts the rows and bytes of a response with rows or a data file. */
  rowsSent (sent: { rows: number, bytes: number }): void
  /** Publishes the latest report of a configuration; undefined removes what is published of it. */
  reportChecked (bucket: string, id: string, report: CheckedReport | undefined): void
  /** Counts a failed check of reports. */
  reportCheckFailed (bucket: string): void
}

/** Creates the metrics of delivered reports. */
export function reportMetrics ({ counter, gauge }: Instruments): ReportMetrics {
  const rowsSent = counter('report_rows_sent_total', 'Rows of reports that were sent.', [])
  const bytesSent = counter('report_bytes_sent_total', 'Bytes of rows and data files that were sent.', [])
  const labels: Array<'bucket' | 'id'> = ['bucket', 'id']
  const delivered = gauge('cos_inventory_report_delivered_timestamp_seconds', 'When the latest report was delivered.', labels)
  const objects = gauge('cos_inventory_report_objects', 'Objects in the latest report.', labels)
  const bytes = gauge('cos_inventory_report_bytes', 'Bytes of the objects in the latest report.', labels)
  const checked = new Map<string, { name: { bucket: string, id: string }, isStale: () => boolean }>()
  gauge('cos_inventory_report_stale', '1 while the latest report is stale, or none was delivered in time, else 0.', labels, stale => {
    stale.reset()
    for (const { name, isStale } of checked.values()) stale.set(name, Number(isStale()))
  })
  const failures = counter('cos_inventory_report_check_failures_total', 'Checks of REPORTS_WATCH that failed.', ['bucket'])
  const set = (each: typeof delivered, name: { bucket: string, id: string }, value: number | undefined) => {
    if (value === undefined) each.remove(name)
    else each.set(name, value)
  }

  return {
    rowsSent ({ rows, bytes: sent }) {
      rowsSent.inc(rows)
      bytesSent.inc(sent)
    },
    reportChecked (bucket, id, report) {
      const name = { bucket, id }
      set(delivered, name, report?.deliveredAt && report.deliveredAt / 1000)
      set(objects, name, report?.objects)
      set(bytes, name, report?.bytes)
      if (report === undefined) checked.delete(`${bucket}/${id}`)
      else checked.set(`${bucket}/${id}`, { name, isStale: report.isStale })
    },
    reportCheckFailed (bucket) { failures.inc({ bucket }) }
  }
}
