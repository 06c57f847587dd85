import { readFileSync } from 'node:fs'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'
import { pathOf } from './context/path-of.ts'
import { routeNotFound } from './errors/not-found.ts'
import { docsTheme } from './docs-theme.ts'
import { createSharedDocument, sendSharedDocument } from './shared-document.ts'
import type { SharedDocument } from './shared-document.ts'

/** The OpenAPI document in its two formats, as `npm run openapi` writes them. */
export interface OpenApiDocuments {
  json: string
  yaml: string
}

// Swagger UI loads its own scripts, styles and images, and calls this service.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
  "img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

const redirects = new Map([['/docs', 'docs/'], ['/docs/static/index.html', '../']])

/** Reads the committed documents. Collecting them from the routes would take a third of the start time. */
export function readOpenApiDocuments (): OpenApiDocuments {
  const read = (name: string) => readFileSync(new URL(`../../openapi/${name}`, import.meta.url), 'utf8')
  return { json: read('openapi.json'), yaml: read('openapi.yaml') }
}

/**
 * Serves the OpenAPI document (`/openapi.json`, `/openapi.yaml`) and Swagger UI (`/docs`), without other hosts. The
 * server URL is relative to the document. If a proxy sends `X-Forwarded-Prefix`, the server URL is that prefix.
 */
export async function addDocumentation (app: FastifyInstance, { json, yaml }: OpenApiDocuments): Promise<void> {
  const sendJson = createSender(json, 'application/json; charset=utf-8', /^( *"url": ")\.(?=")/m)
  const sendYaml = createSender(yaml, 'application/yaml; charset=utf-8', /^( *- url: )\.$/m)
  // Swagger UI needs the plugin. `describeRoutes` has registered it when the document is collected.
  if (!app.hasPlugin('@fastify/swagger')) {
    await app.register(swagger, { mode: 'static', specification: { document: JSON.parse(json) } })
  }
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: docsTheme,
    // The top bar is disabled, because its logo needs inline styles.
    uiConfig: { layout: 'BaseLayout', deepLinking: true, docExpansion: 'list' },
    uiHooks: {
      onRequest: (request, reply, done) => {
        reply.header('content-security-policy', docsPolicy)
        const path = pathOf(request)
        // Relative redirects work behind any prefix. The links of the page are relative to the slash.
        const redirect = redirects.get(path)
        // The plugin would create its own copies for every request.
        if (path === '/docs/json') sendJson(request, reply)
        else if (path === '/docs/yaml') sendYaml(request, reply)
        else if (redirect === undefined) done()
        else reply.redirect(redirect)
      }
    }
  })
  await app.register(async scope => { openApiRoutes(scope, sendJson, sendYaml) })
  addEntry(app)
}

type Sender = (request: FastifyRequest, reply: FastifyReply) => FastifyReply

/**
 * Creates a handler that sends a document with the server URL of the request.
 *
 * @param server matches the server URL in the text, after what its first group matches
 */
function createSender (text: string, mediaType: string, server: RegExp): Sender {
  const withServer = (url: string) => text.replace(server, `$1${url}`)
  const documents = new Map<string, SharedDocument>()
  const documentWith = (url: string): SharedDocument => {
    const document = documents.get(url) ?? createSharedDocument(withServer(url), mediaType)
    documents.set(url, document)
    return document
  }
  return (request, reply) => {
    const prefix = forwardedPrefix(request)
    if (prefix !== undefined) return reply.type(mediaType).send(Buffer.from(withServer(prefix)))
    return sendSharedDocument(request, reply, documentWith(pathOf(request).startsWith('/docs/') ? '..' : '.'))
  }
}

function openApiRoutes (app: FastifyInstance, sendJson: Sender, sendYaml: Sender): void {
  const config = { statuses: [400] }
  const headers = { ETag: {}, Vary: {}, 'x-request-id': {} }
  const schema = (operationId: string, mediaType: string, type: string) => ({
    operationId,
    tags: ['documentation'],
    summary: 'The OpenAPI 3.1 document of this service',
    description: 'The server URL is relative to the document, so that it works behind any path prefix.',
    security: [],
    response: {
      200: { description: 'The document.', headers, content: { [mediaType]: { schema: { type } } } },
      304: { description: 'The document is the one that If-None-Match names.', headers, type: 'null' }
    }
  })
  app.get('/openapi.json', { config, schema: schema('getOpenApiJson', 'application/json', 'object') }, sendJson)
  app.get('/openapi.yaml', { config, schema: schema('getOpenApiYaml', 'application/yaml', 'string') }, sendYaml)
}

/** Redirects a browser from the root to Swagger UI. Other clients get 404, as for any unknown path. */
function addEntry (app: FastifyInstance): void {
  app.get('/', { schema: { hide: true } }, async (request, reply) => {
    if (!new Negotiator(request.raw).mediaTypes().includes('text/html')) throw routeNotFound()
    return reply.header('vary', 'accept').redirect('docs/')
  })
}

/** Returns the prefix that a proxy removed from the path. Ignores a header with anything but a path. */
function forwardedPrefix (request: FastifyRequest): string | undefined {
  const given = request.headers['x-forwarded-prefix']
  if (typeof given !== 'string' || !/^(\/(?!\.\.?(\/|$))[A-Za-z0-9._~-]+){1,8}\/?$/.test(given)) return undefined
  return given.replace(/\/$/, '')
}
