import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

// OpenAPI 3.1 has this type, but the declarations of the plugin do not.
const mutualTls = { type: 'mutualTLS', description: 'A client certificate that belongs to a caller.' } as never

/**
 * Collects the OpenAPI document of the routes that are registered later. `app.swagger()` returns it.
 *
 * @param version version of this service
 */
export async function describeRoutes (app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'cos-inventory-proxy',
        version,
        description: 'Inventory jobs of Tencent Cloud Object Storage (COS) as JSON. The service signs every call ' +
          'with its own credentials and translates between JSON and the XML of COS.\n\n' +
          'Every error is `application/problem+json` (RFC 9457). Its `code` is stable. It is a code of this ' +
          'service or of COS.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      tags: [
        { name: 'inventories', description: 'Inventory configurations of a bucket.' },
        { name: 'reports', description: 'Delivered reports, their rows and their data files. Needs REPORTS=true.' },
        { name: 'probes', description: 'Liveness, readiness and metrics.' },
        { name: 'documentation', description: 'This document.' }
      ],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'A key of a caller, or a JWT of the configured issuer. Not needed with AUTH=none.'
          },
          certificate: mutualTls
        }
      },
      security: [{ bearer: [] }, { certificate: [] }]
    },
    transform: ({ schema, url, route }) => {
      const { action, alsoNeeds = [], pruneNeeds } = route.config ?? {}
      if (action === undefined) return { schema, url }
      const actions = [action, ...alsoNeeds].map(each => `\`${each}\``).join(' and ')
      const more = pruneNeeds === undefined ? '' : `, with prune=true also \`${pruneNeeds}\``
      const description = [schema.description, `Callers need ${actions} on the bucket${more}.`].filter(Boolean).join('\n\n')
      return { schema: { ...schema, description }, url }
    },
    transformObject: document => {
      const { openapiObject } = document as Extract<typeof document, { openapiObject: unknown }>
      for (const { head } of Object.values(openapiObject.paths as Record<string, { head?: { operationId: string } }>)) {
        // The plugin adds a suffix in case HEAD shares its schema with GET.
        if (head !== undefined) head.operationId = head.operationId.replace(/-head$/, '')
      }
      // A relative URL works behind any gateway. The plugin does not accept one.
      openapiObject.servers = [{ url: '.', description: 'This service' }]
      return openapiObject
    },
    refResolver: {
      // Names components after their schemas instead of def-0, def-1 and so on.
      buildLocalReference: json => String(json['$id'])
    }
  })
}
