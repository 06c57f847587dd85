/**
 * Headers of all responses but those of Swagger UI, which has its own policy (documentation.ts). API responses load
 * nothing, and no page may frame them. The other headers disable defaults of browsers, as the OWASP Secure Headers
 * Project recommends.
 */
const overHttp = {
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
  // Responses describe the current state of cloud resources.
  'cache-control': 'no-store'
}

/** HSTS is for TLS only (RFC 6797, section 7.2). */
const overTls = { ...overHttp, 'strict-transport-security': 'max-age=31536000' }

/** Returns the headers that every response has. */
export function securityHeaders (isTls: boolean): Record<string, string> {
  return isTls ? overTls : overHttp
}
