import type { InventoryObject } from './inventory-object.ts'
import type { ReportJob } from './job.ts'

/** Returns whether a row is in a report. The time of a period is that of the last modification (a guess). */
export function isReported (object: InventoryObject, { allVersions, filter }: ReportJob): boolean {
  return (allVersions || (object.IsLatest && !object.IsDeleteMarker)) &&
    filter.prefixes.every(prefix => object.Key.startsWith(prefix)) &&
    filter.tags.every(({ key, value }) => object.Tag?.[key] === value) &&
    (filter.storageClasses.length === 0 || filter.storageClasses.includes(object.StorageClass ?? 'STANDARD')) &&
    isInPeriod(object, filter)
}

function isInPeriod ({ lastModifiedMs }: InventoryObject, { fromMs, toMs }: ReportJob['filter']): boolean {
  if (fromMs === -Infinity && toMs === Infinity) return true
  return lastModifiedMs !== undefined && lastModifiedMs >= fromMs && lastModifiedMs <= toMs
}

/** Returns the prefix of all keys that a job reports: the longest of its prefixes. */
export function keyPrefixOf ({ filter }: ReportJob): string {
  return filter.prefixes.reduce((longest, prefix) => prefix.length > longest.length ? prefix : longest, '')
}
