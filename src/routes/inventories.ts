import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { PatchCheck, VersionedInventories } from '../changes/versioned-inventories.ts'
import type { Warning } from '../changes/preflight.ts'
import { failedPrecondition } from '../changes/version.ts'
import type { Action } from '../contract/callers.ts'
import { InventoryConfigurationPatchSchema } from '../contract/desired-set.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema,
  InventoryJobSchema, InventoryPageSchema
} from '../contract/inventory.ts'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import {
  BucketPathSchema, ChangeHeadersSchema, InventoryPathSchema, PageQuerySchema, PutQuerySchema, ReadHeadersSchema,
  RegionQuerySchema, WriteQuerySchema
} from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import type { Call } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'
import { authorizeConfiguration } from '../http/access/authorization.ts'
import { rejectBody } from '../http/body/json-body.ts'
import { preconditionsOf, rejectPreconditions } from '../http/body/preconditions.ts'
import { mergePatchMediaType, rejectPatchResult } from '../http/body/validation.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { commonCosProblems, cosProblems, problemResponses } from '../http/errors/problem-responses.ts'
import { pageToJson } from '../http/json-responses.ts'
import { answer, content, etagHeader, json, noBody, problemsOfAll, problemsOfBodies, sendXml, xmlSchema } from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
}

interface PreflightRequest { params: { id: string }, query: { preflight?: 'warn' | 'enforce' }, body: object }

const notFound = cosProblems.InventoryConfigurationNotFoundError
const problemsOfWrites = [
  ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.InventoryFull, cosProblems.TargetBucketNameInvalid,
  cosProblems.InvalidBucketState
]
const tags = ['inventories']

const xmlPreview = (headers: object) =>
  content('With dry-run=true: exactly the XML that would be sent. Nothing was.', { 'application/xml': xmlSchema }, headers)
const preflightHeader = {
  'preflight-warnings': {
    type: 'string',
    description: 'With preflight=warn, and only when there are any: a JSON array of objects with code, pointer and detail.'
  }
}
const conditional = 'If-Match and If-None-Match are compared with what COS holds, which is read before. Changes of one ' +
  'configuration through one replica are made one after another; between replicas, and with whoever else holds keys, a ' +
  'moment between reading and writing remains: COS itself has no conditional writes.'

/** The operations on inventory configurations: schema, then what to do in a few lines. */
export const inventoryRoutes: FastifyPluginAsyncTypebox<Options> = async (
  app, { bucketCalls, inventories }
) => {
  // The validation plugin collects the issues of all parts before it responds.
  const validated = (action: Action) => ({ attachValidation: true, config: { action } })
  const validatedBodyless = (action: Action) => ({ ...validated(action), preParsing: [rejectBody] })

  app.put('/buckets/:bucket/inventories/:id', {
    ...validated('cos:PutBucketInventory'),
    schema: {
      operationId: 'putInventory',
      tags,
      summary: 'Create or replace a configuration',
      description: 'Replaces a configuration of the same id whole. With dry-run=true nothing is sent to COS but what ' +
        `a precondition or preflight has to read.\n\n${conditional}`,
      params: InventoryPathSchema,
      querystring: PutQuerySchema,
      headers: ChangeHeadersSchema,
      body: refTo(InventoryConfigurationInputSchema),
      response: {
        200: xmlPreview(preflightHeader),
        204: noBody('COS holds the configuration.', { ...etagHeader, ...preflightHeader }),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly', 'AuditLogUnavailable', 'PreconditionFailed'], problemsOfWrites)
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = query['dry-run'] === 'true'
    const preconditions = preconditionsOf(request)
    return await bucketCalls.run(request, async call => {
      await warn(call, request, reply)
      if (isDryRun) return sendXml(reply, await inventories.previewPut(call, id, body, preconditions))
      return answer(reply.code(204), await inventories.put(call, id, body, preconditions))
    })
  })

  /** @throws {ServiceError} ValidationFailed with preflight=enforce, naming every warning */
  async function warn (
    call: Call, { params: { id }, query, body }: PreflightRequest, reply: FastifyReply
  ): Promise<void> {
    if (query.preflight === undefined) return
    const isEnforced = query.preflight === 'enforce'
    const warnings = await inventories.preflight(call, id, body, isEnforced)
    if (warnings.length > 0 && isEnforced) throw refusalOf(warnings)
    if (warnings.length > 0) reply.header('preflight-warnings', JSON.stringify(warnings))
  }

  const getSchema = (operationId: string, summary: string, success: object) => ({
    operationId,
    tags,
    summary,
    params: InventoryPathSchema,
    querystring: RegionQuerySchema,
    headers: ReadHeadersSchema,
    response: {
      200: success,
      304: noBody('The configuration is still the one that If-None-Match names.', etagHeader),
      ...problemResponses(problemsOfAll, [...commonCosProblems, notFound])
    }
  })

  async function sendConfiguration (
    request: FastifyRequest<{ Params: { id: string } }>, reply: FastifyReply
  ): Promise<FastifyReply> {
    const found = await bucketCalls.run(request, call => inventories.get(call, request.params.id))
    const { ifNoneMatch } = preconditionsOf(request)
    const isUnchanged = failedPrecondition({ ifMatch: undefined, ifNoneMatch }, found.etag) !== undefined
    if (isUnchanged) return answer(reply.code(304), { ...found, value: undefined })
    reply.type('application/json; charset=utf-8')
    return answer(reply, { ...found, value: found.value.json() })
  }

  app.head('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:GetBucketInventory'),
    config: { action: 'cos:GetBucketInventory', swagger: { exposeHeadRoute: true } },
    schema: getSchema('headInventory', 'Whether a configuration exists', noBody('It does.', etagHeader))
  }, sendConfiguration)

  app.get('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:GetBucketInventory'),
    schema: getSchema('getInventory', 'Read a configuration',
      json('The configuration, as COS holds it.', refTo(InventoryConfigurationSchema), etagHeader))
  }, sendConfiguration)

  app.patch('/buckets/:bucket/inventories/:id', {
    attachValidation: true,
    config: { action: 'cos:PutBucketInventory', alsoNeeds: ['cos:GetBucketInventory'], mediaType: mergePatchMediaType },
    onRequest: [async (_, reply) => { reply.header('accept-patch', mergePatchMediaType) }],
    schema: {
      operationId: 'patchInventory',
      tags,
      summary: 'Change part of a configuration',
      description: 'A JSON merge patch (RFC 7396) of the configuration as GET answers it. What it comes to must be what ' +
        'PUT takes, save for what COS holds already and the patch leaves alone; elements this service does not know stay ' +
        'where they are. A patch that changes nothing writes nothing.\n\nCOS may answer a read with what was there before for some seconds after a change: give the ETag ' +
        'of your last change in If-Match, and a read that lags is a 412 instead of a lost change.\n\n' +
        `${conditional} Without If-Match, when COS says that another change was in the way, the patch is made anew once.`,
      params: InventoryPathSchema,
      querystring: WriteQuerySchema,
      headers: ChangeHeadersSchema,
      consumes: [mergePatchMediaType],
      body: refTo(InventoryConfigurationPatchSchema),
      response: {
        200: content('The new configuration. With dry-run=true: exactly the XML that would be sent, and nothing was.',
          { 'application/json': refTo(InventoryConfigurationSchema), 'application/xml': xmlSchema }, etagHeader),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly', 'AuditLogUnavailable', 'PreconditionFailed'],
          [...problemsOfWrites, notFound])
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = query['dry-run'] === 'true'
    const check: PatchCheck = (result, present) => {
      rejectPatchResult(request, result, present)
      authorizeConfiguration(request.context, result)
    }
    const args = [id, body, preconditionsOf(request), check] as const
    return await bucketCalls.run(request, async call => {
      if (isDryRun) return sendXml(reply, await inventories.previewPatch(call, ...args))
      return answer<InventoryConfiguration>(reply, await inventories.patch(call, ...args))
    })
  })

  app.delete('/buckets/:bucket/inventories/:id', {
    ...validatedBodyless('cos:DeleteBucketInventory'),
    schema: {
      operationId: 'deleteInventory',
      tags,
      summary: 'Delete a configuration',
      description: `Deleting a configuration that does not exist is a success: COS makes no difference.\n\n${conditional}`,
      params: InventoryPathSchema,
      querystring: RegionQuerySchema,
      headers: ChangeHeadersSchema,
      response: {
        204: noBody('COS holds no configuration of this id.'),
        ...problemResponses([...problemsOfAll, 'ReadOnly', 'AuditLogUnavailable', 'PreconditionFailed'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    const preconditions = preconditionsOf(request)
    return answer(reply.code(204), await bucketCalls.run(request, call =>
      inventories.delete(call, request.params.id, preconditions)))
  })

  app.post('/buckets/:bucket/inventories/:id', {
    ...validated('cos:PostBucketInventory'),
    onRequest: [rejectPreconditions],
    schema: {
      operationId: 'postInventory',
      tags,
      summary: 'Start a one-time job',
      description: 'COS makes one report and keeps no configuration. An id may not repeat within a day.',
      params: InventoryPathSchema,
      querystring: PutQuerySchema,
      body: refTo(InventoryJobInputSchema),
      response: {
        200: xmlPreview(preflightHeader),
        202: json('COS has taken the job.', refTo(InventoryJobSchema), preflightHeader),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly', 'AuditLogUnavailable'], [
          ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.TargetBucketNameInvalid,
          cosProblems.DuplicateInventoryId
        ])
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    return await bucketCalls.run(request, async call => {
      await warn(call, request, reply)
      if (query['dry-run'] === 'true') return sendXml(reply, inventories.previewPost(call, id, body))
      return answer(reply.code(202), await inventories.post(call, id, body))
    })
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
    const { value: page, cos } = await bucketCalls.run(request, call =>
      all === 'true' ? inventories.listAll(call) : inventories.list(call, token))
    reply.type('application/json; charset=utf-8')
    return answer(reply, { value: await pageToJson(page), cos })
  })
}

function refusalOf (warnings: Warning[]): ServiceError {
  return new ServiceError('ValidationFailed', 'The configuration would make no useful report; errors names every reason. ' +
    'Nothing was changed. With preflight=warn it is sent all the same.',
  { errors: warnings.map(({ pointer, detail }) => ({ in: 'body', pointer, detail })) })
}
