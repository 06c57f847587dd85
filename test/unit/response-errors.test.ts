import t from 'tap'
import { toUpstreamError } from '../../src/cos/client/response-errors.ts'

t.test('remedy of rejected credentials follows the code, or the message of AccessDenied', async t => {
  const remedyOf = (code: string, message: string) => toUpstreamError({
    status: 403,
    headers: { 'content-type': 'application/xml', 'x-cos-request-id': 'aWQ=' },
    body: Buffer.from(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`),
    confidential: []
  }).remedy
  t.equal(remedyOf('AccessDenied', 'Request has expired'), 'correct-clock')
  t.equal(remedyOf('AccessDenied', 'RequestTimeTooSkewed'), 'correct-clock')
  t.equal(remedyOf('AccessDenied', 'InvalidAccessKeyId'), 'refresh-credentials')
  t.equal(remedyOf('AccessDenied', 'SignatureDoesNotMatch'), 'none')
  t.equal(remedyOf('InvalidToken', 'RequestTimeTooSkewed'), 'refresh-credentials')
})
