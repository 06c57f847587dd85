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
  ChangeHeadersSchema, InventoryPathSchema, JobPathSchema, PutQuerySchema, ReadHeadersSchema, RegionQuerySchema,
  WriteQuerySchema
} from '../contract/requests.ts'
import { isTrue, refTo } from '../contract/schema.ts'
import { authorizeConfiguration } from '../http/access/authorization.ts'
import { patchMediaTypes, rejectBody } from '../http/body/json-body.ts'
import { preconditionsOf, rejectPreconditions } from '../http/body/preconditions.ts'
import { rejectPatchResult } from '../http/body/validation.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { statusesOfAll, statusesOfBodies } from '../http/openapi/responses.ts'
import { addWarnings } from './preflight.ts'
import { linkToReport } from './report-link.ts'
import { json, noBody, sendResult, sendXml, tags } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
  /** Whether reports are served. */
  hasReports: boolean
}

type Scope = Parameters<FastifyPluginAsyncTypebox>[0]

const path = '/buckets/:bucket/inventories/:id'
const conditional = 'If-Match and If-None-Match are compared with the stored configuration, which is read first. Each ' +
  'replica makes the changes to one configuration one after another. COS has no conditional writes. Other replicas and ' +
  'other clients can still change the configuration between the read and the write.'

/** Adds the operations in the order in which the OpenAPI document lists them. */
export const inventoryRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  addReads(app, options)
  addPut(app, options)
  addPatch(app, options)
  addDelete(app, options)
  addPost(app, options)
}

/** Returns the options of a route. The validation plugin collects the issues of all parts before it responds. */
function validated (action: Action, statuses: readonly number[]) {
  return { attachValidation: true, config: { action, statuses } }
}

function validatedBodyless (action: Action, statuses: readonly number[]) {
  return { ...validated(action, statuses), preParsing: [rejectBody] }
}

const preview = 'With dry-run=true, the service changes nothing and returns the XML that it would send'

function addPut (app: Scope, { bucketCalls, inventories }: Options): void {
  app.put(path, {
    ...validated('cos:PutBucketInventory', [...statusesOfBodies, 409, 412]),
    schema: {
      operationId: 'putInventory',
      tags,
      summary: 'Create or replace a configuration',
      description: `Replaces a configuration of the same id as a whole.\n\n${conditional}\n\n${preview}, as previewInventory does.`,
      params: InventoryPathSchema,
      querystring: PutQuerySchema,
      headers: ChangeHeadersSchema,
      body: refTo(InventoryConfigurationInputSchema),
      response: { 204: noBody('COS stored the configuration.', ['ETag', 'preflight-warnings']) } as Responses
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = isTrue(query['dry-run'])
    const preconditions = preconditionsOf(request)
    return await bucketCalls.run(request, async call => {
      await addWarnings(inventories, call, request, reply)
      if (isDryRun) return sendXml(reply, await inventories.previewPut(call, id, body, preconditions))
      return sendResult(reply.code(204), await inventories.put(call, id, body, preconditions))
    })
  })
}

/** Adds HEAD and GET. Both read the configuration. */
function addReads (app: Scope, { bucketCalls, inventories }: Options): void {
  const options = validatedBodyless('cos:GetBucketInventory', [304, ...statusesOfAll])
  const schemaOf = (operationId: string, summary: string, success: object) => ({
    operationId,
    tags,
    summary,
    params: InventoryPathSchema,
    querystring: RegionQuerySchema,
    headers: ReadHeadersSchema,
    response: { 200: success } as Responses
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
    ...options,
    config: { ...options.config, swagger: { exposeHeadRoute: true } },
    schema: schemaOf('headInventory', 'Check whether a configuration exists', noBody('The configuration exists.', ['ETag']))
  }, sendConfiguration)

  app.get(path, {
    ...options,
    schema: schemaOf('getInventory', 'Read a configuration',
      json('The configuration as COS stores it.', refTo(InventoryConfigurationSchema), ['ETag']))
  }, sendConfiguration)
}

function addPatch (app: Scope, { bucketCalls, inventories }: Options): void {
  app.patch(path, {
    attachValidation: true,
    config: {
      action: 'cos:PutBucketInventory',
      alsoNeeds: ['cos:GetBucketInventory'],
      isPatch: true,
      statuses: [...statusesOfBodies, 409, 412]
    },
    onRequest: [async (_, reply) => { reply.header('accept-patch', patchMediaTypes.join(', ')) }],
    schema: {
      operationId: 'patchInventory',
      tags,
      summary: 'Change part of a configuration',
      description: 'Applies a JSON merge patch (RFC 7396) to the configuration in the form that GET returns. The merged ' +
        'configuration must be valid for PUT. Stored values that the patch does not change are exempt. Elements that ' +
        'this service does not know are kept. A patch that changes nothing writes nothing.\n\nFor some seconds after a ' +
        'change, COS may return the previous configuration. Send the ETag of your last change in If-Match: a stale read ' +
        'then causes 412 instead of a lost change.\n\n' +
        `${conditional} Without If-Match, the patch is retried once if COS rejects it because of another change.\n\n` +
        `${preview}, as application/xml.`,
      params: InventoryPathSchema,
      querystring: WriteQuerySchema,
      headers: ChangeHeadersSchema,
      consumes: [...patchMediaTypes],
      body: refTo(InventoryConfigurationPatchSchema),
      response: {
        200: json('The new configuration.', refTo(InventoryConfigurationSchema), ['ETag', 'Accept-Patch'])
      } as Responses
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = isTrue(query['dry-run'])
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
    ...validatedBodyless('cos:DeleteBucketInventory', [...statusesOfAll, 412]),
    schema: {
      operationId: 'deleteInventory',
      tags,
      summary: 'Delete a configuration',
      description: `The request also succeeds if the configuration does not exist, as in COS.\n\n${conditional}`,
      params: InventoryPathSchema,
      querystring: RegionQuerySchema,
      headers: ChangeHeadersSchema,
      response: { 204: noBody('The bucket has no configuration with this id.') } as Responses
    }
  }, async (request, reply) => {
    const preconditions = preconditionsOf(request)
    return sendResult(reply.code(204), await bucketCalls.run(request, call =>
      inventories.delete(call, request.params.id, preconditions)))
  })
}

function addPost (app: Scope, { bucketCalls, inventories, hasReports }: Options): void {
  app.post(path, {
    ...validated('cos:PostBucketInventory', [...statusesOfBodies, 409]),
    onRequest: [rejectPreconditions],
    schema: {
      operationId: 'startInventoryJob',
      tags,
      summary: 'Start a one-time job',
      description: 'COS creates one report and stores no configuration. An id can be used once within a day. ' +
        `${preview}, as previewInventory does.`,
      params: JobPathSchema,
      querystring: PutQuerySchema,
      body: refTo(InventoryJobInputSchema),
      response: {
        202: json('COS accepted the job.', refTo(InventoryJobSchema), ['Link', 'preflight-warnings'])
      } as Responses
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    return await bucketCalls.run(request, async call => {
      await addWarnings(inventories, call, request, reply)
      if (isTrue(query['dry-run'])) return sendXml(reply, inventories.preview(call, id, body))
      const accepted = await inventories.post(call, id, body)
      if (hasReports) reply.header('link', linkToReport(request.params, body.Destination.COSBucketDestination, query.region))
      return sendResult(reply.code(202), accepted)
    })
  })
}
