import { hostNames, networks, output } from './formats.ts'
import { listener, port } from './listener.ts'
import { redisUrl } from './url-formats.ts'
import { choice, flag, httpUrl, integer, path, text } from './variable-types.ts'
import type { Variables } from './variable-types.ts'

const hourMs = 3_600_000

/** The listener, and how the service starts and stops. */
export const serving = {
  ...listener,
  TRUST_PROXY: { type: networks, default: 'false', description: 'Proxies whose `X-Forwarded-For` the service trusts.' },
  KEEP_ALIVE_TIMEOUT_MS: {
    type: integer(1, hourMs),
    default: '72000',
    unit: 'ms',
    description: 'Longest idle time of a client connection. It must exceed the idle timeout of the load balancer.'
  },
  READ_ONLY: { type: flag, default: 'false', description: '`true` rejects every change. Reads and dry runs work.' },
  SHUTDOWN_DELAY_MS: {
    type: integer(0, hourMs),
    default: '0',
    unit: 'ms',
    description: 'Time after SIGTERM in which `/readyz` returns 503 and requests are still served. Load balancers ' +
      'see it and stop sending requests.'
  },
  SHUTDOWN_GRACE_MS: {
    type: integer(0, hourMs),
    default: '20000',
    unit: 'ms',
    description: 'Time for requests in flight after `SHUTDOWN_DELAY_MS`. It should exceed `COS_DEADLINE_MS`.'
  }
} satisfies Variables

/** Authentication, and rate limits of callers. */
export const access = {
  AUTH: {
    type: choice('required', 'none'),
    default: 'required',
    description: '`none` disables authentication. The log says so at startup and every hour.'
  },
  AUTH_NONE_ANYWHERE: {
    type: flag,
    default: 'false',
    description: '`true` allows `AUTH=none` with a `HOST` that other machines reach.'
  },
  ALLOWED_HOSTS: {
    type: hostNames,
    default: '',
    description: 'With `AUTH=none`: names that requests may have in `Host`, besides loopback names and `HOST`.'
  },
  CALLERS_FILE: {
    type: path,
    description: 'JSON file with the callers and their permissions. `AUTH=required` needs it.'
  },
  JWT_JWKS_URL: {
    type: httpUrl,
    description: 'Key set that verifies the tokens of callers. It needs `JWT_ISSUER` and `JWT_AUDIENCE`.'
  },
  JWT_ISSUER: { type: text, description: 'The `iss` that a token must have.' },
  JWT_AUDIENCE: { type: text, description: 'The `aud` that a token must have.' },
  RATE_LIMIT_PER_MINUTE: {
    type: integer(0, 10_000_000),
    default: '600',
    unit: 'requests',
    description: 'Limit for each caller. `0` is no limit. With `AUTH=none` the limit is per address, and the ' +
      'default is `0`.'
  },
  REDIS_URL: {
    type: redisUrl,
    secret: true,
    description: 'One Redis server, for rate limits that all replicas share. The path may be a database. While Redis is ' +
      'unavailable or rejects commands, requests pass and `redis_up` is 0.'
  },
  RATE_LIMIT_REDIS_URL: { type: redisUrl, secret: true, description: 'Alias of `REDIS_URL`.' }
} satisfies Variables

/** Logs and metrics. */
export const observability = {
  LOG_LEVEL: {
    type: choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    default: 'info',
    description: 'Lowest level that is logged.'
  },
  AUDIT_LOG: {
    type: output,
    default: 'stdout',
    description: 'Destination of audit lines. While it cannot be written, changes get 503.'
  },
  METRICS_PORT: {
    type: port,
    description: 'Separate port for `/metrics`, over plain HTTP. Without it, `/metrics` is on `PORT`.'
  }
} satisfies Variables
