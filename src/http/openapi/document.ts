import swagger from '@fastify/swagger'
import type { FastifyContextConfig, FastifyInstance, FastifySchema } from 'fastify'
import type { TSchema } from '@sinclair/typebox'
import { schemas } from '../../contract/schemas.ts'
import { documented, formOf } from '../../contract/schema.ts'
import { headerComponents } from './headers.ts'
import { introduction } from './introduction.ts'
import { createParameters, finishedPaths, statusesExtension } from './operations.ts'
import type { Paths } from './operations.ts'
import { responseComponents } from './responses.ts'

// OpenAPI 3.1 has this type, but the declarations of the plugin do not.
const mutualTls = { type: 'mutualTLS', description: 'A client certificate that belongs to a caller.' } as never

const tags = [
  { name: 'inventories', description: 'Inventory configurations of a bucket.' },
  { name: 'reports', description: 'Delivered reports, their rows and their data files. Needs REPORTS=true.' },
  { name: 'probes', description: 'Liveness, readiness and metrics.' },
  { name: 'documentation', description: 'This document.' }
]

/**
 * Collects the OpenAPI document of the routes that are registered later. `app.swagger()` returns it.
 *
 * The plugin converts the schemas of routes. Afterwards, this function replaces schemas, parameters, headers and
 * responses that operations share by components.
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
        description: introduction(),
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      tags,
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
    transform: ({ schema, url, route: { config } }) => ({ schema: transformed(schema, config ?? {}), url }),
    transformObject: document => {
      const { openapiObject } = document as Extract<typeof document, { openapiObject: unknown }>
      const { components: { securitySchemes }, paths, ...others } = openapiObject as unknown as
        { components: { securitySchemes: object }, paths: Paths }
      const parameters = createParameters(paths)
      return {
        ...others,
        // A relative URL works behind any gateway. The plugin does not accept one.
        servers: [{ url: '.', description: 'This service' }],
        paths: finishedPaths(paths, tags.map(({ name }) => name), parameters.refer),
        components: {
          securitySchemes,
          parameters: parameters.components,
          headers: headerComponents(),
          responses: responseComponents(),
          schemas: schemaComponents()
        }
      } as typeof openapiObject
    },
    refResolver: {
      // Names components after their schemas instead of def-0, def-1 and so on.
      buildLocalReference: json => String(json['$id'])
    }
  })
}

/** Returns the schema of a route in the form of the document, with the permissions that callers need. */
function transformed (schema: FastifySchema, config: FastifyContextConfig): FastifySchema {
  const { action, alsoNeeds = [], pruneNeeds, jobAction, statuses = [] } = config
  const actions = [action, ...alsoNeeds].map(each => `\`${each}\``).join(' and ')
  const more = pruneNeeds === undefined ? '' : `, with prune=true also \`${pruneNeeds}\``
  const ofJobs = jobAction === undefined ? '' : `, or for a job \`${jobAction}\``
  const permissions = action === undefined ? undefined : `Callers need ${actions} on the bucket${more}${ofJobs}.`
  const parts = (['params', 'querystring', 'headers'] as const).filter(part => schema[part] !== undefined)
  return {
    ...schema,
    ...Object.fromEntries(parts.map(part => [part, documented(schema[part] as object, new Map())])) as object,
    ...schema.body !== undefined && { body: formOf(schema.body as TSchema) },
    description: [(schema as { description?: string }).description, permissions].filter(Boolean).join('\n\n'),
    [statusesExtension]: statuses
  } as FastifySchema
}

function schemaComponents (): object {
  const components = new Map<string, object>()
  for (const schema of schemas) {
    const name = schema.$id as string
    components.set(name, {})
    components.set(name, documented(schema, components))
  }
  return Object.fromEntries(components)
}
