import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { pathOf } from './path-of.ts'
import { problemResponses } from './problem-responses.ts'

/** The parts of an OpenAPI document this file changes per request. */
interface OpenApiDocument {
  servers?: Array<{ url: string, description?: string }>
}

// Swagger UI needs its own scripts, styles and images, and this service to try things on.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
  "img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// OpenAPI 3.1 has this type, the plugin's declarations do not.
const mutualTls = { type: 'mutualTLS', description: 'A client certificate that belongs to a caller.' } as never

const redirects = new Map([['/docs', 'docs/'], ['/docs/static/index.html', '../']])

/**
 * The OpenAPI document of the routes registered after it (`/openapi.json`, `/openapi.yaml`), and Swagger UI
 * (`/docs`) served from this host alone. Behind a path prefix the proxy says it in `X-Forwarded-Prefix`.
 */
export async function addDocumentation (app: FastifyInstance, version: string): Promise<void> {
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
      servers: [{ url: '/', description: 'This host' }],
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
      return openapiObject
    },
    refResolver: {
      // Components are named as their schemas are, not def-0, def-1 and so on.
      buildLocalReference: json => String(json['$id'])
    }
  })

  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'cos-inventory-proxy' },
    // Without the top bar, whose logo would need inline styles.
    uiConfig: { layout: 'BaseLayout', deepLinking: true, docExpansion: 'list' },
    transformSpecification: (document, request) => atPrefix(document, request),
    uiHooks: {
      onRequest: (request, reply, done) => {
        reply.header('content-security-policy', docsPolicy)
        // Relative redirects hold behind any prefix; the page's own links are relative to the slash.
        const redirect = redirects.get(pathOf(request))
        if (redirect === undefined) done()
        else reply.redirect(redirect)
      }
    }
  })
}

/** `/openapi.json` and `/openapi.yaml`. */
export async function openApiRoutes (app: FastifyInstance): Promise<void> {
  const schema = (operationId: string, mediaType: string, type: string) => ({
    operationId,
    tags: ['documentation'],
    summary: 'The OpenAPI 3.1 document of this service',
    security: [],
    response: { 200: { description: 'The document.', content: { [mediaType]: { schema: { type } } } }, ...problemResponses([]) }
  })
  app.get('/openapi.json', { schema: schema('getOpenApiJson', 'application/json', 'object') }, async (request, reply) => {
    reply.type('application/json; charset=utf-8')
    return JSON.stringify(atPrefix(app.swagger(), request), null, 2) + '\n'
  })
  app.get('/openapi.yaml', { schema: schema('getOpenApiYaml', 'application/yaml', 'string') }, async (request, reply) => {
    reply.type('application/yaml; charset=utf-8')
    const prefix = forwardedPrefix(request)
    const yaml = app.swagger({ yaml: true })
    return prefix === undefined ? yaml : yaml.replace(/^( *- url: )\/$/m, `$1${prefix}`)
  })
}

function atPrefix<T extends object> (document: T, request: FastifyRequest): T {
  const prefix = forwardedPrefix(request)
  if (prefix === undefined) return document
  return { ...document, servers: [{ url: prefix, description: 'This host' }] } satisfies OpenApiDocument & T
}

/** The prefix a proxy says it has taken off the path; only what is plainly a path is believed. */
function forwardedPrefix (request: FastifyRequest): string | undefined {
  const given = request.headers['x-forwarded-prefix']
  if (typeof given !== 'string' || !/^(\/(?!\.\.?(\/|$))[A-Za-z0-9._~-]+){1,8}\/?$/.test(given)) return undefined
  return given.replace(/\/$/, '')
}
