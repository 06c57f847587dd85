/** The names that become parts of host names and paths: buckets, regions and configurations. */
import type { SchemaOptions } from '@sinclair/typebox'
import { PatternText } from './schema.ts'

/** `BucketName-APPID` (COS document 13312), not anchored. Labels with `xn--` encode other names (RFC 5890). */
export const bucketName = '(?!xn--)[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9]+'

/** {@link bucketName}, anchored at both ends. */
export const bucketPattern = `^${bucketName}$`
/** The most characters of a bucket name, which is one DNS label (RFC 1035). */
export const bucketMaxLength = 63

/**
 * A region id such as `ap-guangzhou` (COS document 6224). Only the form is checked, because COS adds regions. The
 * retired `cn-*` ids no longer have hosts. Not anchored.
 */
export const regionName = '(?!cn-)[a-z0-9]+(-[a-z0-9]+)+'

/** {@link regionName}, anchored at both ends. */
export const regionPattern = `^${regionName}$`

/** COS documents no length limit, so that 128 is one of this service. URL normalization removes `.` and `..`. */
const idPattern = '^(?!\\.{1,2}$)[A-Za-z0-9._-]{1,128}$'

/** Creates the schema of the id of a configuration or job, in a path or a body. */
function Id (example: string) {
  return PatternText(idPattern, {
    description: 'Id of the configuration: 1 to 128 characters out of A-Z a-z 0-9 . _ - but not . or ..',
    examples: [example]
  })
}

/** The id of a configuration, in a path or a body. */
export const IdSchema = Id('daily-report')

/** The id of a one-time job. COS rejects the id of a configuration, so that the example is another one. */
export const JobIdSchema = Id('one-time-report')

/** Creates the schema of a bucket name with its APPID. */
export function BucketName (description: string, options: SchemaOptions = {}) {
  return PatternText(bucketPattern, { maxLength: bucketMaxLength, ...options, description })
}

/** Creates the schema of a region. It has no example, because Swagger UI would send one. */
export function Region (description: string) {
  return PatternText(regionPattern, { maxLength: 63, description })
}
