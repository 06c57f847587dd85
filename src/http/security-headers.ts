import helmet from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'

/**
 * Security headers on every answer. An API answer may load nothing and be framed by nobody; Swagger UI has a
 * policy of its own (see documentation.ts). HSTS means something over TLS only (RFC 6797, section 7.2).
 */
export async function addSecurityHeaders (app: FastifyInstance, { isTls }: { isTls: boolean }): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    frameguard: { action: 'deny' },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: isTls ? { maxAge: 31_536_000, includeSubDomains: false } : false
  })
  app.addHook('onRequest', async (_, reply) => {
    // Answers are about cloud resources of the moment; a cache in between must not keep them.
    reply.header('cache-control', 'no-store')
  })
}
