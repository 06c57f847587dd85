import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

// OpenAPI 3.1 has this type, the plugin's declarations do not.
const mutualTls = { type: 'mutualTLS', description: 'A client certificate that belongs to a caller.' } as never

/**
 * Collects the OpenAPI document of the routes that are registered after it. `app.swagger()` returns it.
 *
 * @param version of this service
 */
export async function describeRoutes (app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'cos-inventory-proxy',
        version,
        description: 'Inventory jobs of Tencent Cloud Object Storage (COS) as JSON. The service signs every call ' +
          'with its own credentials and translates to and from the XML of COS.\n\n' +
          'Every error is `application/problem+json` (RFC 9457). Its `code` is stable: this service\'s own, or the ' +
          'one COS gave.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      tags: [
        { name: 'inventories', description: 'Inventory configurations of a bucket.' },
        { name: 'probes', description: 'Whether the process lives and can serve.' },
        { name: 'documentation', description: 'This document.' }
      ],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'A caller\'s key, or a JWT of the issuer this service trusts. With AUTH=none none is needed.'
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
        // The plugin adds a suffix, in case HEAD shares its schema with GET.
        if (head !== undefined) head.operationId = head.operationId.replace(/-head$/, '')
      }
      // Relative to the document, so that it holds behind any gateway. The plugin takes no relative URLs.
      openapiObject.servers = [{ url: '.', description: 'This service' }]
      return openapiObject
    },
    refResolver: {
      // Components are named as their schemas are, not def-0, def-1 and so on.
      buildLocalReference: json => String(json['$id'])
    }
  })
}
