import { cos, credentials, limits } from './cos-variables.ts'
import { reports } from './report-variables.ts'
import { access, observability, serving } from './service-variables.ts'
import { traces } from './trace-variables.ts'
import type { Variables } from './variable-types.ts'

/** All configuration variables of the service, in the order and under the titles of the reference. */
export const sections: Array<{ title: string, note?: string, variables: Variables }> = [
  { title: 'Serving', variables: serving },
  { title: 'Access and rate limits', variables: access },
  { title: 'COS', variables: cos },
  { title: 'Limits of COS calls', variables: limits },
  { title: 'Credentials for COS', variables: credentials },
  { title: 'Delivered reports', variables: reports },
  { title: 'Logs and metrics', variables: observability },
  {
    title: 'Traces',
    note: 'Names and values are those of the OpenTelemetry specification. The OpenTelemetry SDK reads the endpoints,\n' +
      'the batch size and all other `OTEL_*` variables itself. They have no `NAME_FILE` form.',
    variables: traces
  }
]

/** The same variables by name. */
export const variables = {
  ...serving, ...access, ...cos, ...limits, ...credentials, ...reports, ...observability, ...traces
} satisfies Variables
