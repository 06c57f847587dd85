import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import { InventoryPageSchema } from '../contract/inventory.ts'
import { BucketPathSchema, PageQuerySchema } from '../contract/requests.ts'
import { isTrue, refTo } from '../contract/schema.ts'
import { rejectBody } from '../http/body/json-body.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { pageToJson } from '../http/json-responses.ts'
import { statusesOfAll } from '../http/openapi/responses.ts'
import { json, noBody, sendResult, tags } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
}

type PageQuery = Static<typeof PageQuerySchema>

const path = '/buckets/:bucket/inventories'

/** Adds GET and HEAD of the configurations of a bucket. A slash at the end of the path is accepted, too. */
export const listRoute: FastifyPluginAsyncTypebox<Options> = async (app, { bucketCalls, inventories }) => {
  const common = {
    attachValidation: true,
    config: { action: 'cos:GetBucketInventory' as const, statuses: statusesOfAll, swagger: { exposeHeadRoute: true } },
    preParsing: [rejectBody]
  }
  const schemaOf = (operationId: string, summary: string, description: string, response: Responses) => ({
    operationId, tags, summary, description, params: BucketPathSchema, querystring: PageQuerySchema, response
  })

  async function sendPage (
    request: FastifyRequest<{ Querystring: PageQuery }>, reply: FastifyReply
  ): Promise<FastifyReply> {
    const { all, 'continuation-token': token } = request.query
    const { value: page, cos } = await bucketCalls.run(request, call =>
      isTrue(all) ? inventories.listAll(call) : inventories.list(call, token))
    const { nextContinuationToken: next } = page
    if (next !== undefined) reply.header('link', linkToNext(request.query, next))
    reply.type('application/json; charset=utf-8')
    return sendResult(reply, { value: await pageToJson(page), cos })
  }

  const headSchema = schemaOf('headInventories', 'Check whether a bucket can be listed', 'Reads a page as GET does.',
    { 200: noBody('The bucket can be listed.', ['Link']) })
  const getSchema = schemaOf('listInventories', 'List the configurations of a bucket',
    'Returns pages of up to 100 configurations in order of creation. With all=true, returns all pages as one.',
    { 200: json('A page of configurations. It is empty if the bucket has none.', refTo(InventoryPageSchema), ['Link']) })
  for (const [url, hide] of [[path, false], [`${path}/`, true]] as const) {
    app.head(url, { ...common, schema: { ...headSchema, hide } }, sendPage)
    app.get(url, { ...common, schema: { ...getSchema, hide } }, sendPage)
  }
}

/** Returns the link to the next page. It is relative to the request, so that it works behind any path prefix. */
function linkToNext ({ region }: PageQuery, token: string): string {
  const query = new URLSearchParams({ 'continuation-token': token, ...region !== undefined && { region } })
  return `<?${query.toString().replaceAll('+', '%20')}>; rel="next"`
}
