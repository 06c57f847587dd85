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
import { addWarnings, preflightHeader } from './preflight.ts'
import { linkHeader, linkToReport } from './report-link.ts'
import {
  content, etagHeader, json, noBody, problemsOfAll, problemsOfBodies, problemsOfChanges, sendResult, sendXml, tags,
  xmlSchema
} from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
  /** Whether reports are served. */
  hasReports: boolean
}

type Scope = Parameters<FastifyPluginAsyncTypebox>[0]

const path = '/buckets/:bucket/inventories/:id'
const notFound = cosProblems.InventoryConfigurationNotFoundError
const problemsOfWrites = [
  ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.InventoryFull, cosProblems.TargetBucketNameInvalid,
  cosProblems.InvalidBucketState
]
const xmlPreview =
  content('With dry-run=true: the exact XML that would be sent. Nothing was changed.', { 'application/xml': xmlSchema }, preflightHeader)
const conditional = 'If-Match and If-None-Match are compared with the stored configuration, which is read first. Each ' +
  'replica makes the changes to one configuration one after another. COS has no conditional writes. Other replicas and ' +
  'other clients can still change the configuration between the read and the write.'

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
      description: 'Replaces a configuration of the same id as a whole. With dry-run=true, only the reads of a ' +
        `precondition or preflight are sent to COS.\n\n${conditional}`,
      params: InventoryPathSchema,
      querystring: PutQuerySchema,
      headers: ChangeHeadersSchema,
      body: refTo(InventoryConfigurationInputSchema),
      response: {
        200: xmlPreview,
        204: noBody('COS stored the configuration.', { ...etagHeader, ...preflightHeader }),
        ...problemResponses([...problemsOfChanges, ...problemsOfBodies, 'PreconditionFailed'], problemsOfWrites)
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    const isDryRun = query['dry-run'] === 'true'
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
      304: noBody('The stored configuration matches If-None-Match.', etagHeader),
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
    schema: schemaOf('headInventory', 'Check whether a configuration exists', noBody('The configuration exists.', etagHeader))
  }, sendConfiguration)

  app.get(path, {
    ...validatedBodyless(action),
    schema: schemaOf('getInventory', 'Read a configuration',
      json('The configuration as COS stores it.', refTo(InventoryConfigurationSchema), etagHeader))
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
      description: 'Applies a JSON merge patch (RFC 7396) to the configuration in the form that GET returns. The merged ' +
        'configuration must be valid for PUT. Stored values that the patch does not change are exempt. Elements that ' +
        'this service does not know are kept. A patch that changes nothing writes nothing.\n\nFor some seconds after a ' +
        'change, COS may return the previous configuration. Send the ETag of your last change in If-Match: a stale read ' +
        'then causes 412 instead of a lost change.\n\n' +
        `${conditional} Without If-Match, the patch is retried once if COS rejects it because of another change.`,
      params: InventoryPathSchema,
      querystring: WriteQuerySchema,
      headers: ChangeHeadersSchema,
      consumes: [mergePatchMediaType],
      body: refTo(InventoryConfigurationPatchSchema),
      response: {
        200: content('The new configuration. With dry-run=true: the exact XML that would be sent. Nothing was changed then.',
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
      description: `The request also succeeds if the configuration does not exist, as in COS.\n\n${conditional}`,
      params: InventoryPathSchema,
      querystring: RegionQuerySchema,
      headers: ChangeHeadersSchema,
      response: {
        204: noBody('The bucket has no configuration with this id.'),
        ...problemResponses([...problemsOfChanges, 'PreconditionFailed'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    const preconditions = preconditionsOf(request)
    return sendResult(reply.code(204), await bucketCalls.run(request, call =>
      inventories.delete(call, request.params.id, preconditions)))
  })
}

function addPost (app: Scope, { bucketCalls, inventories, hasReports }: Options): void {
  app.post(path, {
    ...validated('cos:PostBucketInventory'),
    onRequest: [rejectPreconditions],
    schema: {
      operationId: 'postInventory',
      tags,
      summary: 'Start a one-time job',
      description: 'COS creates one report and stores no configuration. An id can be used once within a day.',
      params: InventoryPathSchema,
      querystring: PutQuerySchema,
      body: refTo(InventoryJobInputSchema),
      response: {
        200: xmlPreview,
        202: json('COS accepted the job.', refTo(InventoryJobSchema), { ...preflightHeader, ...linkHeader }),
        ...problemResponses([...problemsOfChanges, ...problemsOfBodies], [
          ...commonCosProblems, cosProblems.InvalidArgument, cosProblems.TargetBucketNameInvalid,
          cosProblems.DuplicateInventoryId
        ])
      }
    }
  }, async (request, reply) => {
    const { params: { id }, query, body } = request
    return await bucketCalls.run(request, async call => {
      await addWarnings(inventories, call, request, reply)
      if (query['dry-run'] === 'true') return sendXml(reply, inventories.previewPost(call, id, body))
      const accepted = await inventories.post(call, id, body)
      if (hasReports) reply.header('link', linkToReport(request.params, body.Destination.COSBucketDestination, query.region))
      return sendResult(reply.code(202), accepted)
    })
  })
}
