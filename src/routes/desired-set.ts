import { PassThrough } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'
import type { DesiredSets, FailedStep, Step, Witness } from '../changes/desired-set.ts'
import type { Difference } from '../changes/differences.ts'
import { DesiredConfigurationSchema, DesiredSetSchema, SetOutcomeSchema, SetProgressSchema } from '../contract/desired-set.ts'
import type { SetOutcome, SetProgress } from '../contract/desired-set.ts'
import type { Problem } from '../contract/problem.ts'
import { BucketPathSchema, maxSetBytes, maxSetValues, SetQuerySchema } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import { ServiceError } from '../errors.ts'
import { createPauses } from '../event-loop.ts'
import type { Lifecycle } from '../http/connections/graceful-shutdown.ts'
import { callOf } from '../http/cos-call.ts'
import { toJsonInParts } from '../http/json.ts'
import { refusePreconditions } from '../http/preconditions.ts'
import { cosHeaders, logProblem, problemOf, toServiceError } from '../http/problem-replies.ts'
import { commonCosProblems, problemResponses } from '../http/problem-responses.ts'
import { limitSets } from '../http/set-capacity.ts'
import { setItemsAside } from '../http/validation.ts'
import { content, json, problemsOfAll, problemsOfBodies } from './responses.ts'

interface Options {
  desiredSets: DesiredSets
  lifecycle: Lifecycle
}

const progressMediaType = 'application/x-ndjson'

/** The desired set of a bucket. */
export const desiredSetRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { desiredSets, lifecycle }) => {
  app.decorateRequest('setBody', null)
  app.put('/buckets/:bucket/inventories', {
    attachValidation: true,
    bodyLimit: maxSetBytes,
    config: {
      action: 'cos:PutBucketInventory',
      alsoNeeds: ['cos:GetBucketInventory'],
      pruneNeeds: 'cos:DeleteBucketInventory',
      itemSchema: DesiredConfigurationSchema,
      maxValues: maxSetValues
    },
    onRequest: [refusePreconditions, limitSets()],
    preValidation: [setItemsAside],
    schema: {
      operationId: 'putInventories',
      tags: ['inventories'],
      summary: 'Bring a bucket to a desired set of configurations',
      description: 'Compares the set with what COS holds (one LIST for every 100) and changes what differs, eight ' +
        'configurations at a time: first those that are there, then the new ones as far as there is room, then, with ' +
        'prune=true, those that the set does not name are deleted, then come the new ones for which there was no room. ' +
        'Sent again, it changes nothing. A fault anywhere, or more than 1,000 in the end, refuses the set before anything is changed.\n\nIt counts as one request; each change ' +
        'has the deadline of a request, the set twenty times as long, and what cannot begin in time is among the failed. ' +
        'A client that prefers application/x-ndjson gets a line for each configuration as soon as its outcome is known.',
      params: BucketPathSchema,
      querystring: SetQuerySchema,
      body: refTo(DesiredSetSchema),
      response: {
        200: content('The bucket holds the set; or, with dry-run=true, what would be changed; or, line by line, what becomes of it.', {
          'application/json': refTo(SetOutcomeSchema), [progressMediaType]: refTo(SetProgressSchema)
        }),
        207: json('Some changes failed. The same request again tries these only.', refTo(SetOutcomeSchema)),
        ...problemResponses([...problemsOfAll, ...problemsOfBodies, 'ReadOnly', 'AuditLogUnavailable'], commonCosProblems)
      }
    }
  }, async (request, reply) => {
    const { body, query } = request
    const options = { prune: query.prune === 'true' }
    const call = callOf(request)
    const desired = body.InventoryConfigurations
    const toProgress = progressOf(request)
    const wantsProgress = prefersProgress(request)
    if (query['dry-run'] === 'true') {
      const { value, cos } = await desiredSets.plan(call, desired, options)
      cosHeaders(reply, cos)
      const progress = value.flat().map(toProgress)
      if (!wantsProgress) return sendOutcome(reply, progress)
      return reply.type(progressMediaType).send(Buffer.from(await toLines(progress)))
    }
    const lines = new PassThrough()
    const outcomes = new Map<string, SetProgress>()
    await desiredSets.apply(call, desired, options, {
      planned ({ value, cos }) {
        const witness = witnessOf(request)
        cosHeaders(reply, cos)
        // In the order of the plan, whichever is done first.
        for (const step of value.flat()) outcomes.set(step.id, toProgress(step))
        if (wantsProgress) sendLines(reply, lines)
        return witness
      },
      taken (step) {
        const progress = toProgress(step)
        outcomes.set(step.id, progress)
        if (wantsProgress) lines.write(toLine(progress))
      },
      refusal
    })
    const progress = [...outcomes.values()]
    if (!wantsProgress) return sendOutcome(reply.code(progress.some(isFailure) ? 207 : 200), progress)
    lines.end()
    return reply
  })

  function refusal (): ServiceError | undefined {
    if (lifecycle.phase !== 'closing') return undefined
    return new ServiceError('ShuttingDown', 'This replica is stopping. The change was not begun: send the set again.',
      { retryAfterSeconds: 1 })
  }
}

/** Whether the client prefers lines to one document. Without a preference it gets the document. */
function prefersProgress ({ raw }: FastifyRequest): boolean {
  return new Negotiator(raw).mediaType(['application/json', progressMediaType]) === progressMediaType
}

function sendLines (reply: FastifyReply, lines: PassThrough): void {
  // Or nginx would keep the lines until there are enough of them.
  reply.type(progressMediaType).header('x-accel-buffering', 'no').send(lines)
  // Fastify sends the head with the first line, which may take a while.
  setImmediate(() => { reply.raw.flushHeaders() })
}

/** Steps as callers see them. */
function progressOf (request: FastifyRequest<{ Params: { bucket: string } }>) {
  return (step: Step | FailedStep): SetProgress => {
    const { id, outcome } = step
    if (outcome === 'Updated') return { Id: id, Outcome: outcome, Changes: step.changes }
    if (outcome !== 'Failed') return { Id: id, Outcome: outcome }
    const error = toServiceError(step.error)
    const instance = `/buckets/${request.params.bucket}/inventories/${encodeURIComponent(id)}`
    return { Id: id, Outcome: outcome, problem: problemOf(error, request.id, instance) }
  }
}

function toLine (progress: SetProgress): string {
  return `${JSON.stringify(progress)}\n`
}

async function toLines (progress: SetProgress[]): Promise<string> {
  const pause = createPauses()
  let lines = ''
  for (const each of progress) {
    lines += toLine(each)
    await pause()
  }
  return lines
}

async function sendOutcome (reply: FastifyReply, progress: SetProgress[]): Promise<FastifyReply> {
  const json = await toJsonInParts(outcomeOf(progress))
  return reply.type('application/json; charset=utf-8').send(json)
}

function outcomeOf (progress: SetProgress[]): SetOutcome {
  const of = (outcome: SetProgress['Outcome']) => progress.filter(({ Outcome }) => Outcome === outcome)
  const idsOf = (outcome: SetProgress['Outcome']) => of(outcome).map(({ Id }) => Id)
  return {
    Created: idsOf('Created'),
    Updated: of('Updated').map(({ Id, Changes }) => ({ Id, Changes: Changes as Difference[] })),
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
      if (problem !== undefined) logProblem(request.log, problem)
      end({ problem, cos: problem?.cos ?? cos })
    }
  }
}
