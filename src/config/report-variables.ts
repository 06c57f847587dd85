import { bucketMaxLength, bucketPattern } from '../contract/names.ts'
import { flag, integer, splitList } from './variable-types.ts'
import type { Variables, VariableType } from './variable-types.ts'

const bucketRegex = new RegExp(bucketPattern, 'u')

/** Configurations by bucket and id; `*` is any id. */
const watchedReports: VariableType<Array<{ bucket: string, id: string }>> = {
  label: '`bucket-appid/id` or `bucket-appid/*`, comma separated',
  parse (text, reject) {
    return splitList(text).map((entry, index) => {
      const [bucket = '', id = '', ...rest] = entry.split('/')
      const isBucket = bucket.length <= bucketMaxLength && bucketRegex.test(bucket)
      if (!isBucket || rest.length > 0 || !/^(\*|(?!\.{1,2}$)[A-Za-z0-9._-]{1,128})$/.test(id)) {
        reject(`: entry ${index + 1} is not bucket-appid/id or bucket-appid/*`)
      }
      return { bucket, id }
    })
  }
}

/** Delivered reports. */
export const reports = {
  REPORTS: {
    type: flag,
    default: 'false',
    description: '`true` serves delivered reports. The credentials then need `cos:GetBucket`, `cos:GetObject` and ' +
      '`cos:HeadObject` on the destinations.'
  },
  REPORTS_MAX_STREAMS: {
    type: integer(1, 64),
    default: '4',
    description: 'Most requests for rows and data files in progress. Each can use a whole core.'
  },
  REPORTS_WATCH: {
    type: watchedReports,
    default: '',
    description: 'Configurations whose latest report is published as metrics. It needs `REPORTS=true`.'
  },
  REPORTS_WATCH_SECONDS: {
    type: integer(10, 3_600),
    default: '900',
    unit: 's',
    description: 'Interval of these checks.'
  }
} satisfies Variables
