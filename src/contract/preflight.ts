import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { StringEnum } from './schema.ts'

/**
 * A reason why COS creates no useful report for a configuration that it accepts. The texts are printable ASCII, because
 * a header contains them.
 */
export const PreflightWarningSchema = Type.Object({
  code: StringEnum([
    'DestinationNotFound', 'DestinationNotChecked', 'DestinationInOtherRegion', 'ReportOfReports', 'TagWithoutField',
    'MonthWithoutDate', 'PeriodInMilliseconds', 'PeriodReversed'
  ]),
  pointer: Type.String({ description: 'RFC 6901 pointer into the configuration.' }),
  detail: Type.String({ description: 'Text for people. The wording may change.' })
}, {
  $id: 'PreflightWarning',
  description: 'A reason why COS would accept a configuration but create no useful report.',
  examples: [{
    code: 'MonthWithoutDate',
    pointer: '/Schedule/MonthlyDate',
    detail: 'Not every month has a day 31. COS does not document what happens then; use 1 to 28.'
  }]
})

export type PreflightWarning = Static<typeof PreflightWarningSchema>
