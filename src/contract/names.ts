/** The names that become parts of host names and paths: buckets, regions and configurations. */
import { Type } from '@sinclair/typebox'

/** `BucketName-APPID` (COS document 13312), not anchored. Labels with `xn--` encode other names (RFC 5890). */
export const bucketName = '(?!xn--)[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9]+'

/** {@link bucketName} and nothing else. */
export const bucketPattern = `^${bucketName}$`
/** Characters of a bucket name: the length of one DNS label (RFC 1035). */
export const bucketMaxLength = 63

/**
 * A region id such as `ap-guangzhou` (COS document 6224). COS adds regions, so that only the form is checked. The
 * retired `cn-*` ids no longer name a host.
 */
export const regionPattern = '^(?!cn-)[a-z0-9]+(-[a-z0-9]+)+$'

/** COS documents no longest id: 128 is a limit of this service. URL normalization removes `.` and `..`. */
const idPattern = '^(?!\\.{1,2}$)[A-Za-z0-9._-]{1,128}$'

/** The id of a configuration, in a path or a body. */
export const IdSchema = Type.String({
  pattern: idPattern,
  description: 'Name of the configuration: 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..',
  examples: ['daily-report']
})
