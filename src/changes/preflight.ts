import type { InventoryConfiguration } from '../contract/inventory.ts'
import type { Call } from '../cos/inventories.ts'
import { normalize } from '../cos/xml/inventory-xml.ts'
import type { Regions } from '../cos/regions/regions.ts'
import { ServiceError } from '../errors.ts'

/** A reason why COS makes no useful report of a configuration that it accepts. Printable ASCII, for a header. */
export interface Warning {
  code: 'DestinationNotFound' | 'DestinationNotChecked' | 'DestinationInOtherRegion' | 'ReportOfReports' |
    'TagWithoutField' | 'MonthWithoutDate' | 'PeriodInMilliseconds' | 'PeriodReversed'
  /** RFC 6901 pointer into the configuration. */
  pointer: string
  detail: string
}

const destinationPointer = '/Destination/COSBucketDestination/Bucket'

/** COS document 30625. */
const documentedResource = /^qcs::cos:([a-z0-9-]+)::([a-z0-9-]+)$/

/** Seconds from 1970 to the year 5138. A later time is in milliseconds. */
const latestSeconds = 100_000_000_000

type Destination = NonNullable<InventoryConfiguration['Destination']>

/**
 * Finds reasons why a report would be missing or wrong. The destination is looked up only with region discovery, and
 * only if it belongs to the account: when it has the APPID of a source that the account owns.
 *
 * @param input a body that passed validation
 * @param isStrict whether a destination that cannot be looked up is an error
 * @throws {ServiceError} of a look-up that fails, if the preflight is strict; otherwise that is a warning
 */
export async function preflight (
  call: Call, id: string, input: object, isStrict: boolean, { find }: Pick<Regions, 'find'>
): Promise<Warning[]> {
  const configuration = normalize(id, input)
  const { Filter: filter, OptionalFields: fields, Schedule: schedule } = configuration
  const warnings = await destinationWarnings(call, configuration, find).catch((error: unknown): Warning[] => {
    if (isStrict || !(error instanceof ServiceError)) throw error
    return [{
      code: 'DestinationNotChecked',
      pointer: destinationPointer,
      detail: `Whether the destination is there could not be looked up (GET Service: ${error.code}).`
    }]
  })
  if (filter?.Tag !== undefined && fields?.Field.includes('Tag') !== true) {
    warnings.push({
      code: 'TagWithoutField',
      pointer: '/OptionalFields',
      detail: 'A filter by tag needs the optional field Tag.'
    })
  }
  warnings.push(...periodWarnings(filter?.Period ?? {}))
  if (schedule?.MonthlyDate !== undefined && schedule.MonthlyDate > 28) {
    warnings.push({
      code: 'MonthWithoutDate',
      pointer: '/Schedule/MonthlyDate',
      detail: `Not every month has a day ${schedule.MonthlyDate}, and what COS does then is not documented: take 1 to 28.`
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
      detail: 'The time looks like milliseconds. COS counts seconds since 1970.'
    }))
  if (start === undefined || end === undefined || start <= end) return inMilliseconds
  return [...inMilliseconds, {
    code: 'PeriodReversed',
    pointer: '/Filter/Period',
    detail: 'StartTime is after EndTime, so that no object is listed.'
  }]
}

async function destinationWarnings (
  call: Call, { Id: id, Filter: filter, Destination: destination }: InventoryConfiguration, find: Regions['find']
): Promise<Warning[]> {
  const { Bucket: resource, Prefix: folder = '' } = (destination as Destination).COSBucketDestination
  const { bucket: source, region } = call
  const warnings: Warning[] = []
  const warn = (code: Warning['code'], pointer: string, detail: string) => warnings.push({ code, pointer, detail })
  const [, named, bucket] = documentedResource.exec(resource) ?? []
  if (named === undefined || bucket === undefined) {
    warn('DestinationNotChecked', destinationPointer, 'The destination does not have the documented form.')
    return warnings
  }
  const isListed = find !== undefined && appIdOf(bucket) === appIdOf(source) && bucket !== source &&
    await find(source, call) !== undefined
  const found = isListed ? await find(bucket, call) : named
  if (isListed && found === undefined) {
    warn('DestinationNotFound', destinationPointer, `The account has no bucket ${bucket}.`)
  } else if (found !== named) {
    // Callers without rights on the destination must not learn its region.
    warn('DestinationInOtherRegion', destinationPointer, `${bucket} is not in ${named}.`)
  } else if (region !== undefined && named !== region) {
    warn('DestinationInOtherRegion', destinationPointer,
      `Source and destination must be in one region, and ${source} is in ${region}.`)
  }
  if (bucket === source) {
    const reports = `${folder === '' || folder.endsWith('/') ? folder : `${folder}/`}${appIdOf(source)}/${nameOf(source)}/${id}/`
    const listed = filter?.Prefix ?? ''
    if (reports.startsWith(listed) || listed.startsWith(reports)) {
      warn('ReportOfReports', '/Destination/COSBucketDestination/Prefix',
        'The reports are written to where the filter finds them, so that they list themselves: filter by a prefix that ' +
        'they do not have, or take another bucket.')
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
