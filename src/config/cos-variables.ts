import { bucketRegions, hostAndPort, hostTemplate, region, sessionName } from './formats.ts'
import { proxyUrl } from './url-formats.ts'
import { choice, flag, httpUrl, integer, key, path, text } from './variable-types.ts'
import type { Variables } from './variable-types.ts'

const hourMs = 3_600_000

/** Buckets, their regions, and the way to COS. */
export const cos = {
  COS_REGION: { type: region, description: 'Region of every bucket for which no other region is known.' },
  COS_BUCKET_REGIONS: { type: bucketRegions, default: '', description: 'Regions of individual buckets.' },
  COS_REGION_DISCOVERY: {
    type: flag,
    default: 'false',
    description: '`true` looks up buckets without a configured region in the response of GET Service. It needs ' +
      '`cos:GetService`.'
  },
  COS_SCHEME: { type: choice('https', 'http'), default: 'https', description: 'Scheme of calls to COS.' },
  COS_ENDPOINT: {
    type: hostTemplate,
    default: '{bucket}.cos.{region}.myqcloud.com',
    description: 'Host of a bucket. The template begins with `{bucket}` and may end with `:port`.'
  },
  COS_CONNECT_TO: {
    type: hostAndPort,
    description: 'Target of every connection to COS: an emulator, a private link or an egress gateway. The Host ' +
      'header, the TLS server name and the certificate check still use the host of the bucket.'
  },
  HTTPS_PROXY: {
    type: proxyUrl,
    secret: true,
    lowerCase: true,
    description: 'Proxy for `https` URLs of COS, STS and the key set. `https_proxy` takes precedence. COS calls ' +
      'ignore it with `COS_CONNECT_TO`.'
  },
  HTTP_PROXY: {
    type: proxyUrl,
    secret: true,
    lowerCase: true,
    description: 'The same for `http` URLs. `http_proxy` takes precedence.'
  },
  NO_PROXY: {
    type: text,
    default: '',
    lowerCase: true,
    description: 'Hosts that need no proxy, comma separated. `no_proxy` takes precedence.'
  }
} satisfies Variables

/** Time, number and concurrency of calls to COS. */
export const limits = {
  COS_TIMEOUT_MS: {
    type: integer(1, hourMs),
    default: '5000',
    unit: 'ms',
    description: 'Time for one attempt, from connecting to the last byte. Also the longest time that a call waits ' +
      'in the queue.'
  },
  COS_DEADLINE_MS: {
    type: integer(1, hourMs),
    default: '15000',
    unit: 'ms',
    description: 'Time for a whole request: queue, attempts and pauses between them.'
  },
  COS_MAX_ATTEMPTS: { type: integer(1, 10), default: '3', description: 'Attempts of one call. `1` disables retries.' },
  COS_MAX_CONNECTIONS: {
    type: integer(1, 10_000),
    default: '64',
    description: 'Connections and concurrent calls for each bucket host.'
  },
  COS_MAX_IDLE_CONNECTIONS: {
    type: integer(0, 100_000),
    default: '1000',
    description: 'Connections without a request that are kept open for 60 s, to all hosts together. Over TLS, each ' +
      'takes some 40 KiB.'
  },
  COS_MAX_CONCURRENCY: {
    type: integer(1, 10_000),
    default: '256',
    description: 'Concurrent calls to all hosts. With several times `COS_MAX_CONNECTIONS`, one host cannot use ' +
      'all permits.'
  },
  COS_QUEUE_LIMIT: { type: integer(0, 100_000), default: '1024', description: 'Calls that may wait in the queue.' }
} satisfies Variables

/** Credentials for COS, and the services that issue them. */
export const credentials = {
  COS_CREDENTIALS: {
    type: choice('env', 'file', 'cvm-role', 'oidc', 'assume-role'),
    default: 'env',
    fileForm: false,
    description: 'Source of the credentials for COS.'
  },
  COS_ACCOUNTS_FILE: {
    type: path,
    description: 'JSON file with a source of credentials for each account, for buckets of several accounts. It ' +
      'replaces `COS_CREDENTIALS`.'
  },
  COS_SECRET_ID: {
    type: key,
    secret: true,
    description: 'Secret id of a permanent or temporary key pair. `env` needs it.'
  },
  COS_SECRET_KEY: {
    type: key,
    secret: true,
    description: 'Secret key of that key pair. `env` needs it.'
  },
  COS_TOKEN: { type: key, secret: true, description: 'Security token of a temporary key pair.' },
  COS_CREDENTIALS_FILE: {
    type: path,
    description: 'Credentials file. `file` needs it. This is not the `NAME_FILE` form of `COS_CREDENTIALS`.'
  },
  COS_ROLE_ARN: { type: text, description: 'Role to assume. `assume-role` needs it.' },
  COS_ROLE_BASE: {
    type: choice('env', 'file', 'cvm-role', 'oidc'),
    default: 'env',
    description: 'Source of the credentials with which `assume-role` assumes the role. It needs the variables of that ' +
      'source.'
  },
  COS_ROLE_SESSION_NAME: {
    type: sessionName,
    default: 'cos-inventory-proxy',
    description: "Name of the `assume-role` sessions in Tencent's CloudAudit."
  },
  TKE_REGION: { type: text, description: 'Region of the STS call. `oidc` needs it; TKE sets it.' },
  TKE_PROVIDER_ID: { type: text, description: 'Identity provider. `oidc` needs it; TKE sets it.' },
  TKE_WEB_IDENTITY_TOKEN_FILE: {
    type: path,
    description: 'File with the token of the pod. `oidc` needs it; TKE sets it.'
  },
  TKE_ROLE_ARN: { type: text, description: 'Role to assume. `oidc` needs it; TKE sets it.' },
  STS_ENDPOINT: {
    type: httpUrl,
    default: 'https://sts.tencentcloudapi.com',
    description: 'STS, for `oidc` and `assume-role`. Private networks may have another.'
  },
  METADATA_ENDPOINT: {
    type: httpUrl,
    default: 'http://metadata.tencentyun.com',
    description: 'Metadata service, for `cvm-role`. Private networks may have another.'
  }
} satisfies Variables
