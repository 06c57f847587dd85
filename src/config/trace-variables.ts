import { httpUrl, integer, names } from './variable-types.ts'
import type { Variables } from './variable-types.ts'

/** Encodings of OTLP over HTTP. The first is the default (OpenTelemetry specification, OTLP exporter). */
export const traceProtocols = ['http/protobuf', 'http/json'] as const

const traceProtocol = names(traceProtocols.map(each => `\`${each}\``).join(', '))

/** Traces and trace context. */
export const traces = {
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    type: httpUrl,
    description: 'Base URL of the OTLP collector. Without an endpoint, traces are off.'
  },
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {
    type: httpUrl,
    description: 'URL of the OTLP collector for traces. It takes precedence.'
  },
  OTEL_SDK_DISABLED: { type: names('`true`, `false`'), default: 'false', description: '`true` disables traces.' },
  OTEL_TRACES_EXPORTER: { type: names('`otlp`, `none`'), default: 'otlp', description: '`none` disables traces.' },
  OTEL_PROPAGATORS: {
    type: names('`tracecontext`, `none`'),
    default: 'tracecontext',
    description: '`none`: the service neither reads nor sends trace context.'
  },
  OTEL_EXPORTER_OTLP_PROTOCOL: {
    type: traceProtocol,
    default: traceProtocols[0],
    description: 'Encoding of traces. While traces are on, `grpc` is rejected.'
  },
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: {
    type: traceProtocol,
    description: 'The same for traces only. It takes precedence.'
  },
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: {
    type: integer(1, 1_000_000),
    default: '512',
    unit: 'spans',
    description: 'Largest batch of one export.'
  }
} satisfies Variables
