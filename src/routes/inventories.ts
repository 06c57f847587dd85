/** The operations on one inventory configuration. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Patch } from '../changes/patches.ts'
import { failedPrecondition } from '../changes/version.ts'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import type { Action } from '../contract/callers.ts'
import { InventoryConfigurationPatchSchema } from '../contract/desired-set.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema, InventoryJobSchema
} from '../contract/inventory.ts'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import {
  ChangeHeadersSchema, InventoryPathSchema, PutQuerySchema, ReadHeadersSchema, RegionQuerySchema, WriteQuerySchema
} from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import { authorizeConfiguration } from '../http/access/authorization.ts'
import { rejectBody } from '../http/body/json-body.ts'
import { preconditionsOf, rejectPreconditions } from '../http/body/preconditions.ts'
import { mergePatchMediaType, rejectPatchResult } from '../http/body/validation.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { commonCosProblems, cosProblems, problemResponses } from '../http/errors/problem-responses.ts'
import { preflightHeader, warn } from './preflight.ts'
import {
  content, etagHeader, json, noBody, problemsOfAll, problemsOfBodies, problemsOfChanges, sendResult, sendXml, tags,
  xmlSchema
} from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
}

type Scope = Parameters<FastifyPluginAsyncTypebox>[0]

const path = '/buckets/:bucket/inventories/:id'
const notFound = cosProblems.InventoryConfigurationNotFoundError
const problemsOfWrites = [
  ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.InventoryFull, cosProblems.TargetBucketNameInvalid,
  cosProblems.InvalidBucketState
]
const xmlPreview =
  content('With dry-run=true: exactly the XML that would be sent. Nothing was.', { 'application/xml': xmlSchema }, preflightHeader)
const conditional = 'If-Match and If-None-Match are compared with what COS holds, which is read before. Changes of one ' +
  'configuration through one replica are made one after another; between replicas, and with whoever else holds keys, a ' +
  'moment between reading and writing remains: COS itself has no conditional writes.'

/** Adds the operations in the order in which the OpenAPI document lists them. */
export const inventoryRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  addPut(app, options)
  addReads(app, options)
  addPatch(app, options)
  addDelete(app, options)
  addPost(app, options)
}

/** Returns the options of a route. The validation plugin collects the issues of all parts before it responds. */
function validated (action: Action) {
  return { attachValidation: true, config: { action } }
}

function validatedBodyless (action: Action) {
  return { ...validated(action), preParsing: [rejectBody] }
}

function addPut (app: Scope, { bucketCalls, inventories }: Options): void {
  app.put(path, {
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
        200: xmlPreview,
        204: noBody('COS holds the configuration.', { ...etagHeader, ...preflightHeader }),
        ...problemResponses([...problemsOfChanges, ...problemsOfBodies, 'PreconditionFailed'], problemsOfWrites)
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = query['dry-run'] === 'true'
    const preconditions = preconditionsOf(request)
    return await bucketCalls.run(request, async call => {
      await warn(inventories, call, request, reply)
      if (isDryRun) return sendXml(reply, await inventories.previewPut(call, id, body, preconditions))
      return sendResult(reply.code(204), await inventories.put(call, id, body, preconditions))
    })
  })
}

/** Adds HEAD and GET. Both read the configuration. */
function addReads (app: Scope, { bucketCalls, inventories }: Options): void {
  const action = 'cos:GetBucketInventory'
  const schemaOf = (operationId: string, summary: string, success: object) => ({
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
    if (isUnchanged) return sendResult(reply.code(304), { ...found, value: undefined })
    reply.type('application/json; charset=utf-8')
    return sendResult(reply, { ...found, value: found.value.json() })
  }

  app.head(path, {
    ...validatedBodyless(action),
    config: { action, swagger: { exposeHeadRoute: true } },
    schema: schemaOf('headInventory', 'Whether a configuration exists', noBody('It does.', etagHeader))
  }, sendConfiguration)

  app.get(path, {
    ...validatedBodyless(action),
    schema: schemaOf('getInventory', 'Read a configuration',
      json('The configuration, as COS holds it.', refTo(InventoryConfigurationSchema), etagHeader))
  }, sendConfiguration)
}

function addPatch (app: Scope, { bucketCalls, inventories }: Options): void {
  app.patch(path, {
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
        ...problemResponses([...problemsOfChanges, ...problemsOfBodies, 'PreconditionFailed'], [...problemsOfWrites, notFound])
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = query['dry-run'] === 'true'
    const patch: Patch = {
      document: body,
      preconditions: preconditionsOf(request),
      check (merged, current) {
        rejectPatchResult(request, merged, current)
        authorizeConfiguration(request.context, merged)
      }
    }
    return await bucketCalls.run(request, async call => {
      if (isDryRun) return sendXml(reply, await inventories.previewPatch(call, id, patch))
      return sendResult<InventoryConfiguration>(reply, await inventories.patch(call, id, patch))
    })
  })
}

function addDelete (app: Scope, { bucketCalls, inventories }: Options): void {
  app.delete(path, {
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
        ...problemResponses([...problemsOfChanges, 'PreconditionFailed'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    const preconditions = preconditionsOf(request)
    return sendResult(reply.code(204), await bucketCalls.run(request, call =>
      inventories.delete(call, request.params.id, preconditions)))
  })
}

function addPost (app: Scope, { bucketCalls, inventories }: Options): void {
  app.post(path, {
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
        200: xmlPreview,
        202: json('COS has taken the job.', refTo(InventoryJobSchema), preflightHeader),
        ...problemResponses([...problemsOfChanges, ...problemsOfBodies], [
          ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.TargetBucketNameInvalid,
          cosProblems.DuplicateInventoryId
        ])
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    return await bucketCalls.run(request, async call => {
      await warn(inventories, call, request, reply)
      if (query['dry-run'] === 'true') return sendXml(reply, inventories.previewPost(call, id, body))
      return sendResult(reply.code(202), await inventories.post(call, id, body))
    })
  })
}
