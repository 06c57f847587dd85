import { ProblemSchema } from '../../contract/problem.ts'
import { problemTable } from '../../errors.ts'
import { cosProblems } from '../../problem-table-of-cos.ts'

const introduction = `# Errors

<!-- \`npm run docs\` writes this file from src/problem-table.ts, src/problem-table-of-cos.ts and src/http/errors. -->

The service returns every error as \`application/problem+json\` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):

\`\`\`json
${JSON.stringify(ProblemSchema['examples'][0], null, 2)}
\`\`\`

| member | meaning |
| --- | --- |
| \`code\` | Stable, for programs: the code of COS where COS rejected the request, else a code of this service. |
| \`detail\` | What happened and what to do, for people. The wording may change. |
| \`errors\` | With \`ValidationFailed\`: every issue, with the part of the request (\`path\`, \`query\`, \`header\`, \`body\`) and a JSON pointer (RFC 6901). |
| \`outcome\` | \`"unknown"\` if the change [may have been made](#unknown-outcome-of-a-change). Without it, nothing was changed. |
| \`requestId\` | Also in the header \`x-request-id\` and in the log. A caller may choose it: 1 to 128 of \`A-Z a-z 0-9 . _ -\` in the request header \`x-request-id\`. |
| \`cosCode\` | The code of COS where \`code\` is a broader one. |
| \`cosRequestId\`, \`cosTraceId\` | The ids of COS, where COS responded. Tencent Cloud support asks for them. |
| \`type\`, \`title\`, \`status\`, \`instance\` | As RFC 9457 defines them; \`type\` is always \`about:blank\`. |

The header \`Proxy-Status\` has the code, too: \`cos-inventory-proxy; details="NoSuchBucket"\`. A response to HEAD has no
other place for it.

A program decides by \`status\` and \`code\` together. COS has codes that are spelled like codes of this service, such
as \`InternalError\`, but they have another status.

\`\`\`console
$ B=http://127.0.0.1:8080/buckets/examplebucket-1250000000/inventories
$ curl -s $B/no-such-id | grep -o '"code":"[A-Za-z]*"'
"code":"InventoryConfigurationNotFoundError"
$ curl -s "$B?colour=red" | grep -o '"errors":.*'
"errors":[{"in":"query","pointer":"/colour","detail":"…"}]}
\`\`\`

## Codes of this service
`

const ofCos = `## Codes of COS

The service passes on the status and code of COS for 400, 403, 404, 409 and 412. Any other 4xx or 5xx of COS becomes a
502 with the code of COS. \`SlowDown\`, 429 and 503 become a 503 with \`Retry-After\`. Errors about the credentials of
the service become a 502 \`UpstreamCredentialsRejected\`, and responses that are not from COS a 502
\`UpstreamInvalidResponse\`. These codes are the most frequent:
`

const unknownOutcome = `## Unknown outcome of a change

COS may have made a change although its response was lost. Most 502 and 504 responses to a change are of this kind, and
so is any error after an attempt without a response. The problem document then has \`"outcome": "unknown"\`. In the
response of a desired set, the \`problem\` of each failed configuration has it.

- PUT, PATCH and DELETE: send the same request again. With \`If-Match\` or \`If-None-Match: *\`, the second request may
  get 412 because the first one succeeded. Read the configuration before you decide.
- POST: send the same request again. If \`DuplicateInventoryId\` follows, the first request has started the job, unless
  the id was used before.

Without \`outcome\`, nothing was changed.
`

/** Returns the reference of error codes in Markdown, as `docs/errors.md` contains it. */
export function errorReference (): string {
  return [introduction, tableOf(problemTable), ofCos, tableOf(cosProblems), unknownOutcome].join('\n')
}

type Row = Record<'title' | 'meaning' | 'action', string> & { status: number }

function tableOf (rows: Record<string, Row>): string {
  return [
    '| status | code | title | meaning | what the caller does |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(rows).map(([code, { status, title, meaning, action }]) => `| ${status} | \`${code}\` | ${title} | ${meaning} | ${action} |`),
    ''
  ].join('\n')
}
