import type { FastifyInstance } from 'fastify'

/**
 * What every answer carries. An API answer may load nothing and be framed by nobody; Swagger UI has a policy of its own
 * (see documentation.ts). The rest switches off what browsers do by default, after the OWASP Secure Headers Project.
 */
const securityHeaders = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'DENY',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
  // Answers are about cloud resources of the moment; a cache in between must not keep them.
  'cache-control': 'no-store'
}

/** HSTS means something over TLS only (RFC 6797, section 7.2). */
const overTls = { 'strict-transport-security': 'max-age=31536000' }

/** Puts security headers on every answer. */
export function addSecurityHeaders (app: FastifyInstance, { isTls }: { isTls: boolean }): void {
  const headers = { ...securityHeaders, ...isTls && overTls }
  app.addHook('onRequest', (_, reply, done) => {
    reply.headers(headers)
    done()
  })
}
