import type { InventoryConfiguration } from '../contract/inventory.ts'
import type { PreflightWarning as Warning } from '../contract/preflight.ts'
import type { Call } from '../cos/inventories.ts'
import { normalize } from '../cos/xml/inventory-xml.ts'
import type { Regions } from '../cos/regions/regions.ts'
import { ServiceError } from '../errors.ts'

const destinationPointer = '/Destination/COSBucketDestination/Bucket'

/** The documented form of a destination (COS document 30625). */
const documentedResource = /^qcs::cos:([a-z0-9-]+)::([a-z0-9-]+)$/

/** Seconds from 1970 to the year 5138. A larger value is taken for milliseconds. */
const latestSeconds = 100_000_000_000

type Destination = NonNullable<InventoryConfiguration['Destination']>

/**
 * Returns the reasons why a report would be missing or wrong. The destination is looked up only with region discovery,
 * and only if the list of its account must contain it: the list contains the source and both have the same APPID, or
 * the APPID of the destination has an account of its own.
 *
 * @param input a body that passed validation
 * @param isStrict whether a failed lookup of the destination is an error instead of a warning
 * @throws {ServiceError} the error of a failed lookup if the preflight is strict
 */
export async function preflight (
  call: Call, id: string, input: object, isStrict: boolean, regions: Pick<Regions, 'find' | 'hasOwnAccount'>
): Promise<Warning[]> {
  const configuration = normalize(id, input)
  const { Filter: filter, OptionalFields: fields, Schedule: schedule } = configuration
  const warnings = await destinationWarnings(call, configuration, regions).catch((error: unknown): Warning[] => {
    if (isStrict || !(error instanceof ServiceError)) throw error
    return [{
      code: 'DestinationNotChecked',
      pointer: destinationPointer,
      detail: `The destination could not be looked up (GET Service: ${error.code}). Check that it exists.`
    }]
  })
  if (filter?.Tag !== undefined && fields?.Field.includes('Tag') !== true) {
    warnings.push({
      code: 'TagWithoutField',
      pointer: '/OptionalFields',
      detail: 'A filter by tag needs the optional field Tag. Add it to OptionalFields.'
    })
  }
  warnings.push(...periodWarnings(filter?.Period ?? {}))
  if (schedule?.MonthlyDate !== undefined && schedule.MonthlyDate > 28) {
    warnings.push({
      code: 'MonthWithoutDate',
      pointer: '/Schedule/MonthlyDate',
      detail: `Not every month has a day ${schedule.MonthlyDate}. COS does not document what happens then; use 1 to 28.`
    })
  }
  return warnings
}

function periodWarnings ({ StartTime: start, EndTime: end }: { StartTime?: number, EndTime?: number }): Warning[] {
  const inMilliseconds = Object.entries({ StartTime: start, EndTime: end })
    .filter(([, time]) => time !== undefined && time > latestSeconds)
    .map(([name]): Warning => ({
      code: 'PeriodInMilliseconds',
      pointer: `/Filter/Period/${name}`,
      detail: 'The time looks like milliseconds. Use seconds since 1970.'
    }))
  if (start === undefined || end === undefined || start <= end) return inMilliseconds
  return [...inMilliseconds, {
    code: 'PeriodReversed',
    pointer: '/Filter/Period',
    detail: 'StartTime is after EndTime, so that no object is listed. Correct the times.'
  }]
}

async function destinationWarnings (
  call: Call, { Id: id, Filter: filter, Destination: destination }: InventoryConfiguration,
  { find, hasOwnAccount }: Pick<Regions, 'find' | 'hasOwnAccount'>
): Promise<Warning[]> {
  const { Bucket: resource, Prefix: folder = '' } = (destination as Destination).COSBucketDestination
  const { bucket: source, region } = call
  const warnings: Warning[] = []
  const warn = (code: Warning['code'], pointer: string, detail: string) => warnings.push({ code, pointer, detail })
  const [, named, bucket] = documentedResource.exec(resource) ?? []
  if (named === undefined || bucket === undefined) {
    warn('DestinationNotChecked', destinationPointer,
      'The destination does not have the documented form. Use qcs::cos:<region>::<BucketName-APPID>.')
    return warnings
  }
  const isListed = find !== undefined && bucket !== source &&
    (appIdOf(bucket) === appIdOf(source) ? await find(source, call) !== undefined : hasOwnAccount(bucket))
  const found = isListed ? await find(bucket, call) : named
  if (isListed && found === undefined) {
    warn('DestinationNotFound', destinationPointer, `The account has no bucket ${bucket}. Check the name.`)
  } else if (found !== named) {
    // Callers without rights on the destination must not learn its region.
    warn('DestinationInOtherRegion', destinationPointer, `${bucket} is not in ${named}. Correct the region.`)
  } else if (region !== undefined && named !== region) {
    warn('DestinationInOtherRegion', destinationPointer,
      `Source and destination must be in one region, and ${source} is in ${region}. Use a destination in this region.`)
  }
  if (bucket === source) {
    const reports = `${folder === '' || folder.endsWith('/') ? folder : `${folder}/`}${appIdOf(source)}/${nameOf(source)}/${id}/`
    const listed = filter?.Prefix ?? ''
    if (reports.startsWith(listed) || listed.startsWith(reports)) {
      warn('ReportOfReports', '/Destination/COSBucketDestination/Prefix',
        'The filter includes the reports, so that they list themselves. Use another filter prefix or another ' +
        'destination bucket.')
    }
  }
  return warnings
}

function appIdOf (bucket: string): string {
  return bucket.slice(bucket.lastIndexOf('-') + 1)
}

function nameOf (bucket: string): string {
  return bucket.slice(0, bucket.lastIndexOf('-'))
}
