import { problemTable } from '../../errors.ts'
import { cosProblems } from '../../problem-table-of-cos.ts'

const conventions = `Inventory jobs of Tencent Cloud Object Storage (COS) as JSON. The service signs every call with its own credentials and translates between JSON and the XML of COS.

**Authentication.** Send a key of a caller, or a JWT of the configured issuer, as \`Authorization: Bearer …\`, or use a client certificate. With AUTH=none, callers are not authenticated.

**Paging.** A page has up to 100 configurations. While IsTruncated is true, send NextContinuationToken as \`continuation-token\`, or follow \`Link: rel="next"\`. all=true returns all pages as one.

**Errors.** Every error is \`application/problem+json\` (RFC 9457). Decide by \`status\` and \`code\` together. \`errors\` names every validation error. Where COS rejected the request, \`code\` is the code of COS.

**Retries.** After 429 and 503, wait as long as Retry-After says. After 502 and 504, retry reads. Retry a change if its problem has no \`outcome\`: nothing was changed. With \`"outcome": "unknown"\`, the change may have been made: retry PUT, PATCH and DELETE, and expect 412 if the request has a condition. Do not retry POST, because it starts a job.

**Compatibility.** Paths, parameters, statuses, codes and members change incompatibly with a major version only. Minor versions add to them. Ignore members that you do not know, and decide by the status if you do not know a code.
`

/** Returns the introduction of the OpenAPI document in Markdown: what all operations have in common, and all codes. */
export function introduction (): string {
  const rows = [...Object.entries(problemTable), ...Object.entries(cosProblems)]
    .map(([code, { status, meaning }]) => `| ${status} | \`${code}\` | ${meaning} |`)
  return [conventions, '| status | code | meaning |', '| --- | --- | --- |', ...rows].join('\n')
}
