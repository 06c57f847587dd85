/** Where the reports of a configuration are delivered. */
import type { InventoryConfiguration } from '../contract/inventory.ts'
import { bucketMaxLength, bucketName, regionName } from '../contract/names.ts'
import { folderOfReports, isFolderOfReports } from '../cos/report-keys.ts'
import { ServiceError } from '../errors.ts'
import { unsupported } from './manifest.ts'
import { scheduleOf } from './schedule.ts'
import type { ReportSchedule } from './schedule.ts'

/** The folder of the reports of one configuration or job. */
export interface ReportSource {
  /** Id of the configuration. */
  id: string
  /** The destination bucket. */
  bucket: string
  region: string | undefined
  /** The part of all keys in front of the day. */
  folder: string
  /** The schedule; undefined when there is none, or nothing is known of it. */
  schedule: ReportSchedule | undefined
  /** False for a stored configuration without reports to come; undefined when nothing is known. */
  isEnabled: boolean | undefined
}

/** The configuration whose reports are read. */
export interface Inventory {
  /** The source bucket. */
  bucket: string
  id: string
}

const resource = new RegExp(`^qcs::cos:(?<region>${regionName})::(?<bucket>${bucketName})$`)

/**
 * Returns the source that a stored configuration names.
 *
 * @throws {ServiceError} ReportUnsupported when other clients stored a destination that cannot be read
 */
export function sourceOf ({ bucket: ofObjects, id }: Inventory, configuration: InventoryConfiguration): ReportSource {
  const { Bucket: text = '', Prefix: prefix = '' } = configuration.Destination?.COSBucketDestination ?? {}
  const { region, bucket = '' } = resource.exec(text)?.groups ?? {}
  if (region === undefined || bucket.length > bucketMaxLength) {
    throw unsupported('The destination of the configuration is not qcs::cos:<region>::<BucketName-APPID>.')
  }
  const folder = folderOfReports(prefix, ofObjects, id)
  if (!isFolderOfReports(folder)) throw unsupported(`The prefix of the destination ${segmentRule}.`)
  const schedule = scheduleOf(configuration)
  return { folder, id, bucket, region, schedule, isEnabled: configuration.IsEnabled === true }
}

/**
 * Returns the source that a caller names, in the region of the configuration's bucket, which COS requires.
 *
 * @throws {ServiceError} ValidationFailed for a prefix that cannot be read
 */
export function namedSource (
  { bucket: ofObjects, id }: Inventory, destination: { bucket: string, prefix: string, region: string | undefined }
): ReportSource {
  const { bucket, prefix, region } = destination
  const folder = folderOfReports(prefix, ofObjects, id)
  if (!isFolderOfReports(folder)) {
    throw new ServiceError('ValidationFailed', 'The query parameter prefix cannot be the prefix of a destination. Correct it.',
      { errors: [{ in: 'query', pointer: '/prefix', detail: segmentRule }] })
  }
  return { folder, id, bucket, region, schedule: undefined, isEnabled: undefined }
}

const segmentRule = 'must not have an empty segment, `.` or `..`: servers may remove them'
