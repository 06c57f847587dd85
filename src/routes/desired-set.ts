import { PassThrough } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { DesiredSets, FailedStep, Plan, Step, Witness } from '../changes/desired-set.ts'
import { DesiredSetSchema, maxSetSize, SetOutcomeSchema, SetProgressSchema } from '../contract/desired-set.ts'
import type { SetOutcome, SetProgress } from '../contract/desired-set.ts'
import type { Problem } from '../contract/problem.ts'
import { BucketPathSchema, maxSetBytes, SetQuerySchema } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import type { Outcome } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'
import { callOf } from '../http/cos-call.ts'
import { refusePreconditions } from '../http/preconditions.ts'
import { cosHeaders, logProblem, problemOf, toServiceError } from '../http/problem-replies.ts'
import { commonCosProblems, problemResponses } from '../http/problem-responses.ts'
import type { Lifecycle } from '../http/shutdown.ts'
import { content, problemsOfAll, problemsOfBodies } from './responses.ts'

interface Options {
  desiredSets: DesiredSets
  lifecycle: Lifecycle
}

const progressMediaType = 'application/x-ndjson'

const outcome = (description: string) => content(description, {
  'application/json': refTo(SetOutcomeSchema), [progressMediaType]: refTo(SetProgressSchema)
})

/** The desired set of a bucket. */
export const desiredSetRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { desiredSets, lifecycle }) => {
  app.put('/buckets/:bucket/inventories', {
    attachValidation: true,
    bodyLimit: maxSetBytes,
    config: {
      action: 'cos:PutBucketInventory', alsoNeeds: ['cos:GetBucketInventory'], pruneNeeds: 'cos:DeleteBucketInventory'
    },
    onRequest: [refusePreconditions],
    preValidation: [refuseHugeSet],
    schema: {
      operationId: 'putInventories',
      tags: ['inventories'],
      summary: 'Bring a bucket to a desired set of configurations',
      description: 'Compares the set with what COS holds (one LIST for every 100) and changes what differs, eight ' +
        'configurations at a time: first those that are there, then the new ones as far as there is room, then, with ' +
        'prune=true, those that the set does not name are deleted. Sent again, it changes nothing. A fault anywhere, or ' +
        'more than 1,000 in the end, refuses the set before anything is changed.\n\nIt counts as one request; each change ' +
        'has the deadline of a request, the set twenty times as long, and what is not begun by then is among the failed. ' +
        'Who accepts application/x-ndjson gets a line for each configuration as soon as it is known what became of it.',
      params: BucketPathSchema,
      querystring: SetQuerySchema,
      body: refTo(DesiredSetSchema),
      response: {
        200: outcome('The bucket holds the set; or, with dry-run=true, what would be changed; or, line by line, what becomes of it.'),
        207: outcome('Some changes failed. The same request again tries these only.'),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    const { body, query } = request
    const options = { prune: query.prune === 'true' }
    const call = callOf(request)
    const desired = body.InventoryConfigurations
    const toProgress = progressOf(request)
    const wantsProgress = request.headers.accept?.includes(progressMediaType) === true
    if (query['dry-run'] === 'true') {
      const { value, cos } = await desiredSets.plan(call, desired, options)
      cosHeaders(reply, cos)
      const progress = value.flat().map(toProgress)
      if (!wantsProgress) return reply.send(outcomeOf(progress))
      return reply.type(progressMediaType).send(progress.map(toLine).join(''))
    }
    const progress: SetProgress[] = []
    const lines = new PassThrough()
    await desiredSets.apply(call, desired, options, {
      planned ({ cos }: Outcome<Plan>) {
        cosHeaders(reply, cos)
        // Or nginx would keep the lines until there are enough of them.
        if (wantsProgress) reply.type(progressMediaType).header('x-accel-buffering', 'no').send(lines)
        return witnessOf(request)
      },
      taken (step) {
        if (wantsProgress) lines.write(toLine(toProgress(step)))
        else progress.push(toProgress(step))
      },
      refusal
    })
    if (wantsProgress) lines.end()
    else reply.code(progress.some(isFailure) ? 207 : 200).send(outcomeOf(progress))
    return reply
  })

  function refusal (): ServiceError | undefined {
    if (lifecycle.phase !== 'closing') return undefined
    return new ServiceError('ShuttingDown', 'This replica is stopping. The change was not begun: send the set again.',
      { retryAfterSeconds: 1 })
  }
}

/** Before every one of them is looked at: of a million that are empty, each has five faults. */
async function refuseHugeSet ({ body }: FastifyRequest): Promise<void> {
  const { InventoryConfigurations: items } = (body ?? {}) as { InventoryConfigurations?: unknown }
  if (!Array.isArray(items) || items.length <= maxSetSize) return
  const detail = `must be ${maxSetSize} at most: a bucket holds no more`
  throw new ServiceError('ValidationFailed', 'The set is too large.',
    { errors: [{ in: 'body', pointer: '/InventoryConfigurations', detail }] })
}

/** Steps as callers see them. */
function progressOf (request: FastifyRequest<{ Params: { bucket: string } }>) {
  return (step: Step | FailedStep): SetProgress => {
    const { id, outcome } = step
    if (outcome === 'Updated') return { Id: id, Outcome: outcome, Changes: step.changes }
    if (outcome !== 'Failed') return { Id: id, Outcome: outcome }
    const error = toServiceError(step.error)
    logProblem(request.log, error)
    const instance = `/buckets/${request.params.bucket}/inventories/${encodeURIComponent(id)}`
    return { Id: id, Outcome: outcome, problem: problemOf(error, request.id, instance) }
  }
}

function toLine (progress: SetProgress): string {
  return `${JSON.stringify(progress)}\n`
}

function outcomeOf (progress: SetProgress[]): SetOutcome {
  const of = (outcome: SetProgress['Outcome']) => progress.filter(({ Outcome }) => Outcome === outcome)
  const idsOf = (outcome: SetProgress['Outcome']) => of(outcome).map(({ Id }) => Id)
  return {
    Created: idsOf('Created'),
    Updated: of('Updated').map(({ Id, Changes = [] }) => ({ Id, Changes })),
    Deleted: idsOf('Deleted'),
    Unchanged: idsOf('Unchanged'),
    Unmanaged: idsOf('Unmanaged'),
    Failed: of('Failed').map(({ Id, problem }) => ({ Id, problem: problem as Problem }))
  }
}

function isFailure ({ Outcome: outcome }: SetProgress): boolean {
  return outcome === 'Failed'
}

/** Each change has its audit line, as if it had been a request. */
function witnessOf (request: FastifyRequest): Witness {
  const begin = request.auditEach()
  return change => {
    const end = begin(change)
    return ({ error, cos }) => {
      const problem = error === undefined ? undefined : toServiceError(error)
      end({ problem, cos: problem?.cos ?? cos })
    }
  }
}
