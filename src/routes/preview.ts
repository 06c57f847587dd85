import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import type { Action } from '../contract/callers.ts'
import { isConfiguration, PreviewBodySchema } from '../contract/inventory.ts'
import { InventoryPathSchema, PreviewQuerySchema } from '../contract/requests.ts'
import { rejectPreconditions } from '../http/body/preconditions.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import type { BucketOperation } from '../http/context/request-context.ts'
import { statusesOfBodies } from '../http/openapi/responses.ts'
import { addWarnings } from './preflight.ts'
import { content, sendXml, tags } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
}

const response: Responses = {
  200: content('The XML.', 'application/xml', {
    type: 'string',
    examples: ['<InventoryConfiguration><Id>daily-report</Id></InventoryConfiguration>']
  }, ['preflight-warnings'])
}

/** Adds the preview of a body. */
export const previewRoute: FastifyPluginAsyncTypebox<Options> = async (app, { bucketCalls, inventories }) => {
  app.post('/buckets/:bucket/inventories/:id/preview', {
    attachValidation: true,
    config: { action: 'cos:PutBucketInventory', jobAction: 'cos:PostBucketInventory', statuses: statusesOfBodies },
    onRequest: [rejectPreconditions],
    preValidation: [selectAction],
    schema: {
      operationId: 'previewInventory',
      tags,
      summary: 'Preview the XML of a configuration or job',
      description: 'Validates the body of a PUT or POST and returns exactly the XML that the service would send to COS. ' +
        'Nothing is changed. A body with IsEnabled or Schedule is a configuration, any other body is a one-time job.',
      params: InventoryPathSchema,
      querystring: PreviewQuerySchema,
      body: PreviewBodySchema,
      response
    }
  }, async (request, reply) => await bucketCalls.run(request, async call => {
    await addWarnings(inventories, call, request, reply)
    return sendXml(reply, inventories.preview(call, request.params.id, request.body))
  }))
}

/** Selects the action of the body, now that it is known. The next hooks authorize it. */
async function selectAction ({ body, context, routeOptions: { config } }: FastifyRequest): Promise<void> {
  const operation = context.operation as BucketOperation
  if (!isConfiguration(body)) operation.action = config.jobAction as Action
  operation.alternative = undefined
}
