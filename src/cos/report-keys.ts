/** The keys of delivered reports (COS documents 30622, 33702 and 83382). */

const date = '20[0-9]{6}'
const manifestObject = new RegExp(`^(${date})/manifest\\.(json|checksum)$`)
const dataFileName = /^[0-9A-Za-z_-]{1,128}\.csv(\.gz)?$/

/**
 * Returns the folder of the reports of a configuration: `[{prefix}/]{APPID}/{bucket without APPID}/{id}`.
 *
 * @param prefix of the destination; COS adds a slash, which is not doubled here
 * @param bucket the source bucket with its APPID
 */
export function folderOfReports (prefix: string, bucket: string, id: string): string {
  const dash = bucket.lastIndexOf('-')
  const folder = `${bucket.slice(dash + 1)}/${bucket.slice(0, dash)}/${id}`
  // Without the lookbehind, each slash of a long row of slashes would begin a search of its own.
  const begin = prefix.replace(/(?<!\/)\/+$/, '')
  return begin === '' ? folder : `${begin}/${folder}`
}

/**
 * Tells whether a key can be the folder of reports. Segments such as `..` and empty ones are rejected: servers
 * normalize them, so that the request could read another object or the bucket itself.
 */
export function isFolderOfReports (key: string): boolean {
  return /^(.+\/)?[0-9]+\/[a-z0-9-]+\/[A-Za-z0-9._-]{1,128}$/s.test(key) &&
    key.split('/').every(segment => !['', '.', '..'].includes(segment))
}

/** Tells whether a key is that of a manifest, a checksum or a data file in a folder of reports. */
export function isReportObject (key: string, folder: string): boolean {
  return isDataFile(key, folder) || manifestObjectOf(key, folder) !== undefined
}

/** Tells whether a key is that of a data file in a folder of reports. */
export function isDataFile (key: string, folder: string): boolean {
  return key.startsWith(`${folder}/`) && dataFileName.test(key.slice(folder.length + 1))
}

/** Returns the date and the kind of a manifest or checksum in a folder of reports; undefined for any other key. */
export function manifestObjectOf (
  key: string, folder: string
): { date: string, kind: 'json' | 'checksum' } | undefined {
  const [, day, kind] = key.startsWith(`${folder}/`) ? manifestObject.exec(key.slice(folder.length + 1)) ?? [] : []
  return day === undefined ? undefined : { date: day, kind: kind as 'json' | 'checksum' }
}

/** Returns a key behind all keys of a day. @param day `YYYYMMDD` */
export function lastKeyOf (folder: string, day: string): string {
  return `${folder}/${day}/~`
}

/** Returns the key of the manifest of a day. @param day `YYYYMMDD` */
export function manifestKey (folder: string, day: string): string {
  return `${folder}/${day}/manifest.json`
}

/** Returns the key of the MD5 of the manifest of a day. @param day `YYYYMMDD` */
export function checksumKey (folder: string, day: string): string {
  return `${folder}/${day}/manifest.checksum`
}
