/** Reports in the form of responses. */
import type { Report, ReportSummary } from '../contract/reports.ts'
import type { ListedReport } from '../cos/report-objects.ts'
import { statusesOfAll } from '../http/openapi/responses.ts'
import type { ReportSource } from '../reports/destination.ts'
import type { Manifest } from '../reports/manifest.ts'
import { ageSecondsOf, manifestKeyOf, stalenessOf } from '../reports/reports.ts'
import type { VerifiedReport } from '../reports/reports.ts'

/** The tag of the operations in the OpenAPI document. */
export const reportTags = ['reports']

/** Statuses of operations on one report. */
export const statusesOfReport = [...statusesOfAll, 409]

/** Returns a report as a list has it. @param nowMs milliseconds since 1970 */
export function toSummary (
  { date, manifest, hasChecksum }: ListedReport, source: ReportSource, nowMs: number
): ReportSummary {
  const { id, bucket, region } = source
  const key = manifestKeyOf(source, date)
  const staleness = stalenessOf(manifest, source, nowMs)
  return {
    Id: id,
    Date: date,
    DeliveredAt: new Date(manifest.modifiedAt).toISOString(),
    AgeSeconds: ageSecondsOf(manifest, nowMs),
    ...staleness && { Stale: staleness.isStale, StaleAfterSeconds: staleness.afterSeconds },
    IsComplete: hasChecksum,
    Manifest: {
      Bucket: bucket,
      ...region !== undefined && { Region: region, Resource: `qcs::cos:${region}::${bucket}/${key}` },
      Key: key,
      ETag: manifest.etag,
      Size: manifest.size
    }
  }
}

/** Returns one report. @param nowMs milliseconds since 1970 */
export function toReport (report: VerifiedReport, source: ReportSource, nowMs: number): Report {
  const { content } = report
  return {
    ...toSummary(report, source, nowMs),
    IsVerified: true,
    ...toCounts(content),
    FileFormat: content.fileFormat,
    Fields: content.fields,
    Files: content.files.map(({ key, size, md5 }) => ({
      Key: key, ...size !== undefined && { Size: size }, ...md5 !== undefined && { MD5: md5 }
    }))
  }
}

function toCounts ({ listObjectCount, listStorageSize, filterObjectCount, filterStorageSize }: Manifest) {
  return {
    ...listObjectCount !== undefined && { ListObjectCount: listObjectCount },
    ...listStorageSize !== undefined && { ListStorageSize: listStorageSize },
    ...filterObjectCount !== undefined && { FilterObjectCount: filterObjectCount },
    ...filterStorageSize !== undefined && { FilterStorageSize: filterStorageSize }
  }
}
