import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Action } from '../contract/callers.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema,
  InventoryJobSchema, InventoryPageSchema
} from '../contract/inventory.ts'
import { commonCosProblems, cosProblems, problemResponses, rateLimitHeaders } from '../http/problem-responses.ts'
import { BucketPathSchema, InventoryPathSchema, PageQuerySchema, RegionQuerySchema, WriteQuerySchema } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'
import type { ProblemCode } from '../errors.ts'
import { refuseBody } from '../http/json-only.ts'
import { cosHeaders } from '../http/problem-replies.ts'
import { callerLeft } from '../http/observation.ts'

interface Options {
  inventories: Inventories
  readOnly: boolean
}

const problemsOfAll: ProblemCode[] = [
  'ValidationFailed', 'Unauthenticated', 'CallerNotAllowed', 'URITooLong', 'RateLimited', 'InternalError',
  'UpstreamCredentialsRejected', 'UpstreamInvalidResponse', 'UpstreamUnreachable', 'IssuerUnreachable',
  'UpstreamCredentialsUnavailable', 'UpstreamTimeout'
]
const problemsOfBodies: ProblemCode[] = ['MalformedJSON', 'PayloadTooLarge', 'UnsupportedMediaType']
const notFound = cosProblems.InventoryConfigurationNotFoundError
const tags = ['inventories']

const answerHeaders = {
  'x-request-id': { type: 'string', description: "This service's id of the request." },
  'x-cos-request-id': { type: 'string', description: "COS's id of the exchange." },
  ...rateLimitHeaders
}
const noBody = (description: string) => ({ description, headers: answerHeaders, type: 'null' })
const json = (description: string, schema: object) =>
  ({ description, headers: answerHeaders, content: { 'application/json': { schema } } })
const xmlPreview = {
  description: 'With dry-run=true: exactly the XML that would be sent. Nothing was.',
  content: {
    'application/xml': {
      schema: {
        type: 'object',
        properties: { Id: { type: 'string' } },
        xml: { name: 'InventoryConfiguration' },
        examples: [{ Id: 'daily-report' }]
      }
    }
  }
}

/** The operations on inventory configurations: schema, then what to do in a few lines. */
export const inventoryRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { inventories, readOnly }) => {
  // Validation collects the faults of all parts before it answers (see refuseFaults).
  const validated = (action: Action) => ({ attachValidation: true, config: { action } })
  const validatedBodyless = (action: Action) => ({ ...validated(action), onRequest: [refuseBody] })

  app.put('/buckets/:bucket/inventories/:id', {
    ...validated('cos:PutBucketInventory'),
    schema: {
      operationId: 'putInventory',
      tags,
      summary: 'Create or replace a configuration',
      description: 'Replaces a configuration of the same id whole. With dry-run=true nothing is sent to COS.',
      params: InventoryPathSchema,
      querystring: WriteQuerySchema,
      body: refTo(InventoryConfigurationInputSchema),
      response: {
        200: xmlPreview,
        204: noBody('COS holds the configuration.'),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly'], [
          ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.InventoryFull,
          cosProblems.TargetBucketNameInvalid, cosProblems.InvalidBucketState
        ])
      }
    }
  }, async (request, reply) => {
    const { id } = request.params
    if (request.query['dry-run'] === 'true') return sendXml(reply, inventories.preview(callOf(request, reply), id, request.body))
    refuseIfReadOnly()
    return answer(reply.code(204), await inventories.put(callOf(request, reply), id, request.body))
  })

  const getSchema = (operationId: string, summary: string, success: object) => ({
    operationId,
    tags,
    summary,
    params: InventoryPathSchema,
    querystring: RegionQuerySchema,
    response: { 200: success, ...problemResponses(problemsOfAll, [...commonCosProblems, notFound]) }
  })

  app.head('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:GetBucketInventory'),
    config: { action: 'cos:GetBucketInventory', swagger: { exposeHeadRoute: true } },
    schema: getSchema('headInventory', 'Whether a configuration exists', noBody('It does.'))
  }, async (request, reply) => answer(reply, await inventories.get(callOf(request, reply), request.params.id)))

  app.get('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:GetBucketInventory'),
    schema: getSchema('getInventory', 'Read a configuration',
      json('The configuration, as COS holds it.', refTo(InventoryConfigurationSchema)))
  }, async (request, reply) => answer(reply, await inventories.get(callOf(request, reply), request.params.id)))

  app.delete('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:DeleteBucketInventory'),
    schema: {
      operationId: 'deleteInventory',
      tags,
      summary: 'Delete a configuration',
      description: 'Deleting a configuration that does not exist is a success: COS makes no difference.',
      params: InventoryPathSchema,
      querystring: RegionQuerySchema,
      response: {
        204: noBody('COS holds no configuration of this id.'),
        ...problemResponses([...problemsOfAll, 'ReadOnly'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    refuseIfReadOnly()
    return answer(reply.code(204), await inventories.delete(callOf(request, reply), request.params.id))
  })

  app.post('/buckets/:bucket/inventories/:id', {
    ...validated('cos:PostBucketInventory'),
    schema: {
      operationId: 'postInventory',
      tags,
      summary: 'Start a one-time job',
      description: 'COS makes one report and keeps no configuration. An id may not repeat within a day.',
      params: InventoryPathSchema,
      querystring: WriteQuerySchema,
      body: refTo(InventoryJobInputSchema),
      response: {
        200: xmlPreview,
        202: json('COS has taken the job.', refTo(InventoryJobSchema)),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly'], [
          ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.TargetBucketNameInvalid,
          cosProblems.DuplicateInventoryId
        ])
      }
    }
  }, async (request, reply) => {
    const { id } = request.params
    if (request.query['dry-run'] === 'true') return sendXml(reply, inventories.preview(callOf(request, reply), id, request.body))
    refuseIfReadOnly()
    return answer(reply.code(202), await inventories.post(callOf(request, reply), id, request.body))
  })

  app.get('/buckets/:bucket/inventories', {
    ...validatedBodyless('cos:GetBucketInventory'),
    schema: {
      operationId: 'listInventories',
      tags,
      summary: 'List the configurations of a bucket',
      description: 'Pages of up to 100 in the order they were created. With all=true every page as one.',
      params: BucketPathSchema,
      querystring: PageQuerySchema,
      response: {
        200: json('A page. An empty bucket is an empty page.', refTo(InventoryPageSchema)),
        ...problemResponses(problemsOfAll, [...commonCosProblems, cosProblems.InvalidArgument])
      }
    }
  }, async (request, reply) => {
    const { all, 'continuation-token': token } = request.query
    const call = callOf(request, reply)
    return answer(reply, await (all === 'true' ? inventories.listAll(call) : inventories.list(call, token)))
  })

  function refuseIfReadOnly (): void {
    if (readOnly) throw new ServiceError('ReadOnly', 'This service runs with READ_ONLY=true and changes nothing.')
  }
}

type BucketRequest = FastifyRequest<{ Params: { bucket: string }, Querystring: { region?: string } }>

function callOf (request: BucketRequest, reply: FastifyReply): Call {
  const { params, query, log, trace } = request
  return { bucket: params.bucket, region: query.region, log, trace, signal: callerLeft(request, reply), tally: request }
}

function answer<T> (reply: FastifyReply, { value, cos }: Outcome<T>): FastifyReply {
  cosHeaders(reply, cos)
  return reply.send(value)
}

function sendXml (reply: FastifyReply, xml: string): FastifyReply {
  return reply.type('application/xml').send(xml)
}
