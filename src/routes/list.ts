import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import { InventoryPageSchema } from '../contract/inventory.ts'
import { BucketPathSchema, PageQuerySchema } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import { rejectBody } from '../http/body/json-body.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { commonCosProblems, cosProblems, problemResponses } from '../http/errors/problem-responses.ts'
import { pageToJson } from '../http/json-responses.ts'
import { json, problemsOfAll, sendResult, tags } from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
}

/** Adds GET of the configurations of a bucket. */
export const listRoute: FastifyPluginAsyncTypebox<Options> = async (app, { bucketCalls, inventories }) => {
  app.get('/buckets/:bucket/inventories', {
    attachValidation: true,
    config: { action: 'cos:GetBucketInventory' },
    preParsing: [rejectBody],
    schema: {
      operationId: 'listInventories',
      tags,
      summary: 'List the configurations of a bucket',
      description: 'Returns pages of up to 100 configurations in order of creation. With all=true, returns all pages as one.',
      params: BucketPathSchema,
      querystring: PageQuerySchema,
      response: {
        200: json('A page of configurations. It is empty if the bucket has none.', refTo(InventoryPageSchema)),
        ...problemResponses(problemsOfAll, [...commonCosProblems, cosProblems.InvalidArgument])
      }
    }
  }, async (request, reply) => {
    const { all, 'continuation-token': token } = request.query
    const { value: page, cos } = await bucketCalls.run(request, call =>
      all === 'true' ? inventories.listAll(call) : inventories.list(call, token))
    reply.type('application/json; charset=utf-8')
    return sendResult(reply, { value: await pageToJson(page), cos })
  })
}
