import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { pathOf } from './context/path-of.ts'
import { problemResponses } from './errors/problem-responses.ts'
import { createSharedDocument, sendSharedDocument } from './shared-document.ts'
import type { SharedDocument } from './shared-document.ts'

// Swagger UI needs its own scripts, styles and images, and this service to try things on.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
  "img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// OpenAPI 3.1 has this type, the plugin's declarations do not.
const mutualTls = { type: 'mutualTLS', description: 'A client certificate that belongs to a caller.' } as never

const redirects = new Map([['/docs', 'docs/'], ['/docs/static/index.html', '../']])

/**
 * The OpenAPI document of the routes registered after it (`/openapi.json`, `/openapi.yaml`), and Swagger UI
 * (`/docs`) served from this host alone. The URL of the server is relative to the document, or the prefix that a proxy
 * gives in `X-Forwarded-Prefix`.
 */
export async function addDocumentation (app: FastifyInstance, version: string): Promise<void> {
  const sendJson = createSender(() => `${JSON.stringify(app.swagger(), null, 2)}\n`,
    'application/json; charset=utf-8', /^( *"url": ")\.(?=")/m)
  const sendYaml = createSender(() => app.swagger({ yaml: true }),
    'application/yaml; charset=utf-8', /^( *- url: )\.$/m)
  // In advance, because it takes a tenth of a second.
  app.addHook('onListen', async () => { setImmediate(() => { for (const send of [sendJson, sendYaml]) send.prepare() }) })

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

  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'cos-inventory-proxy' },
    // Without the top bar, whose logo would need inline styles.
    uiConfig: { layout: 'BaseLayout', deepLinking: true, docExpansion: 'list' },
    uiHooks: {
      onRequest: (request, reply, done) => {
        reply.header('content-security-policy', docsPolicy)
        const path = pathOf(request)
        // Relative redirects hold behind any prefix; the page's own links are relative to the slash.
        const redirect = redirects.get(path)
        // The plugin would make its own copies for every request.
        if (path === '/docs/json') sendJson(request, reply)
        else if (path === '/docs/yaml') sendYaml(request, reply)
        else if (redirect === undefined) done()
        else reply.redirect(redirect)
      }
    }
  })
  await app.register(async scope => { openApiRoutes(scope, sendJson, sendYaml) })
}

/** Sends the document in one of its forms. */
interface Sender {
  (request: FastifyRequest, reply: FastifyReply): FastifyReply
  /** Creates the document, unless that has happened. */
  prepare (): void
}

/** @param server finds the URL of the server in the text, behind what its first group has */
function createSender (write: () => string, mediaType: string, server: RegExp): Sender {
  let written: { text: string, documents: Record<'root' | 'docs', SharedDocument> } | undefined
  const withServer = (text: string, url: string) => text.replace(server, `$1${url}`)
  const prepared = () => {
    if (written === undefined) {
      const text = write()
      const inDocs = createSharedDocument(withServer(text, '..'), mediaType)
      written = { text, documents: { root: createSharedDocument(text, mediaType), docs: inDocs } }
    }
    return written
  }
  const send = (request: FastifyRequest, reply: FastifyReply) => {
    const { text, documents } = prepared()
    const prefix = forwardedPrefix(request)
    if (prefix !== undefined) return reply.type(mediaType).send(Buffer.from(withServer(text, prefix)))
    return sendSharedDocument(request, reply, documents[pathOf(request).startsWith('/docs/') ? 'docs' : 'root'])
  }
  return Object.assign(send, { prepare: () => { prepared() } })
}

function openApiRoutes (app: FastifyInstance, sendJson: Sender, sendYaml: Sender): void {
  const headers = { etag: { type: 'string', description: 'The version of the document.' } }
  const schema = (operationId: string, mediaType: string, type: string) => ({
    operationId,
    tags: ['documentation'],
    summary: 'The OpenAPI 3.1 document of this service',
    security: [],
    response: {
      200: { description: 'The document.', headers, content: { [mediaType]: { schema: { type } } } },
      304: { description: 'The document is the one that If-None-Match names.', headers, type: 'null' },
      ...problemResponses([])
    }
  })
  app.get('/openapi.json', { schema: schema('getOpenApiJson', 'application/json', 'object') }, sendJson)
  app.get('/openapi.yaml', { schema: schema('getOpenApiYaml', 'application/yaml', 'string') }, sendYaml)
}

/** The prefix a proxy says it has taken off the path; only what is plainly a path is believed. */
function forwardedPrefix (request: FastifyRequest): string | undefined {
  const given = request.headers['x-forwarded-prefix']
  if (typeof given !== 'string' || !/^(\/(?!\.\.?(\/|$))[A-Za-z0-9._~-]+){1,8}\/?$/.test(given)) return undefined
  return given.replace(/\/$/, '')
}
