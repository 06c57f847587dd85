import { PassThrough } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'
import type { ChangeObserver, DesiredSets, InBucket } from '../changes/desired-set.ts'
import type { Difference } from '../changes/differences.ts'
import { isChange } from '../changes/set-plan.ts'
import type { Plan, Step } from '../changes/set-plan.ts'
import { DesiredConfigurationSchema, DesiredSetSchema, SetOutcomeSchema } from '../contract/desired-set.ts'
import type { SetOutcome, SetProgress } from '../contract/desired-set.ts'
import type { Problem } from '../contract/problem.ts'
import { BucketPathSchema, maxSetBytes, maxSetValues, SetQuerySchema } from '../contract/requests.ts'
import { isTrue, refTo } from '../contract/schema.ts'
import type { Call, Outcome } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'
import { createPauses } from '../concurrency/event-loop.ts'
import type { Lifecycle } from '../http/connections/graceful-shutdown.ts'
import type { AuditTrail } from '../http/audit-trail.ts'
import { rejectPreconditions } from '../http/body/preconditions.ts'
import { limitSets } from '../http/body/set-capacity.ts'
import { setItemsAside } from '../http/body/set-validation.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { cosHeaders, logProblem, problemOf, toServiceError } from '../http/errors/problem-replies.ts'
import { toJsonInParts } from '../http/json-responses.ts'
import { statusesOfBodies } from '../http/openapi/responses.ts'
import { json, tags } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options {
  auditTrail: AuditTrail
  bucketCalls: BucketCalls
  desiredSets: DesiredSets
  lifecycle: Lifecycle
}

const progressMediaType = 'application/x-ndjson'

/** Adds PUT of the desired set of a bucket. */
export const desiredSetRoutes: FastifyPluginAsyncTypebox<Options> = async (app, dependencies) => {
  const { bucketCalls, desiredSets } = dependencies
  app.put('/buckets/:bucket/inventories', {
    attachValidation: true,
    bodyLimit: maxSetBytes,
    config: {
      action: 'cos:PutBucketInventory',
      alsoNeeds: ['cos:GetBucketInventory'],
      pruneNeeds: 'cos:DeleteBucketInventory',
      itemSchema: DesiredConfigurationSchema,
      maxValues: maxSetValues,
      statuses: statusesOfBodies
    },
    onRequest: [rejectPreconditions, limitSets()],
    preValidation: [setItemsAside],
    schema: {
      operationId: 'applyInventories',
      tags,
      summary: 'Bring a bucket to a desired set of configurations',
      description: 'Compares the set with the stored configurations, with one LIST call for every 100. Changes those that ' +
        'differ, eight at a time. The order is: updates, creations up to the limit of the bucket, deletions, remaining ' +
        'creations. Only with prune=true are configurations deleted that the set does not contain. Sending the same set ' +
        'again changes nothing. A validation error, or more than 1,000 resulting configurations, rejects the whole set ' +
        'before any change.\n\nThe set counts as one request. Each change has the deadline of a request, and the set ' +
        'has twenty times as long. Changes that cannot start in time are in Failed.\n\nA client that prefers ' +
        'application/x-ndjson gets status 200 and one line for each configuration as soon as its outcome is known, also ' +
        'of failed changes. Each line is a SetProgress.',
      params: BucketPathSchema,
      querystring: SetQuerySchema,
      body: refTo(DesiredSetSchema),
      response: {
        200: json('The bucket contains the set. With dry-run=true: the planned changes.', refTo(SetOutcomeSchema)),
        207: json('Some changes failed. The same request retries only these.', refTo(SetOutcomeSchema))
      } as Responses
    }
  }, async (request, reply) => {
    const { body: { InventoryConfigurations: desired }, query, context: { call } } = request
    const inBucket: InBucket = operation => bucketCalls.run(request, operation)
    const options = { prune: isTrue(query.prune) }
    if (isTrue(query['dry-run'])) {
      return await sendPlan(request, reply, await inBucket(each => desiredSets.plan(each, desired, options)))
    }
    const lines = prefersLines(request) ? new PassThrough() : undefined
    const { observer, outcomes } = observe(dependencies, request, reply, lines)
    await desiredSets.apply(call as Call, inBucket, desired, options, observer)
    if (lines !== undefined) {
      lines.end()
      return reply
    }
    const progress = [...outcomes.values()]
    return await sendOutcome(reply.code(progress.some(isFailure) ? 207 : 200), progress)
  })
}

type SetRequest = FastifyRequest<{ Params: { bucket: string } }>

/** Returns an observer of a set, and the outcomes of its configurations in the order of the plan. */
function observe (
  { auditTrail, lifecycle }: Options, request: SetRequest, reply: FastifyReply, lines: PassThrough | undefined
): { observer: ChangeObserver, outcomes: ReadonlyMap<string, SetProgress> } {
  const outcomes = new Map<string, SetProgress>()
  const record = (progress: SetProgress) => {
    outcomes.set(progress.Id, progress)
    lines?.write(toLine(progress))
  }
  const observer: ChangeObserver = {
    onPlanned ({ value: plan, cos }) {
      auditTrail.split(request)
      cosHeaders(reply, cos)
      if (lines !== undefined) sendLines(reply, lines)
      for (const step of plan.flat()) {
        if (isChange(step)) outcomes.set(step.id, toProgress(step))
        else record(toProgress(step))
      }
    },
    mayStart: () => lifecycle.phase === 'closing' ? shuttingDown() : undefined,
    onChangeStarted (change) { auditTrail.beginChange(request, change) },
    onChangeFinished (change, result) {
      const problem = 'error' in result ? toServiceError(result.error, true) : undefined
      if (problem !== undefined) logProblem(request.log, problem)
      auditTrail.endChange(request, change, { problem, cos: problem?.cos ?? ('cos' in result ? result.cos : undefined) })
      record(problem === undefined ? toProgress(change.step) : toFailure(request, change.id, problem))
    },
    onChangeRejected ({ id }, error) { record(toFailure(request, id, toServiceError(error))) }
  }
  return { observer, outcomes }
}

async function sendPlan (
  request: SetRequest, reply: FastifyReply, { value: plan, cos }: Outcome<Plan>
): Promise<FastifyReply> {
  cosHeaders(reply, cos)
  const progress = plan.flat().map(toProgress)
  if (!prefersLines(request)) return await sendOutcome(reply, progress)
  return reply.type(progressMediaType).send(Buffer.from(await toLines(progress)))
}

function shuttingDown (): ServiceError {
  return new ServiceError('ShuttingDown',
    'This replica is stopping. Nothing was sent to COS for this change; send the set again.', { retryAfterSeconds: 1 })
}

/** Tells whether the client prefers lines to one document. The default is the document. */
function prefersLines ({ raw }: FastifyRequest): boolean {
  return new Negotiator(raw).mediaType(['application/json', progressMediaType]) === progressMediaType
}

function sendLines (reply: FastifyReply, lines: PassThrough): void {
  // Without this header, nginx buffers the lines.
  reply.type(progressMediaType).header('x-accel-buffering', 'no').send(lines)
  // Fastify sends the head together with the first line, which may take a while.
  setImmediate(() => { reply.raw.flushHeaders() })
}

/** Returns a step in the form of the API. */
function toProgress (step: Step): SetProgress {
  const { id, outcome } = step
  return outcome === 'Updated' ? { Id: id, Outcome: outcome, Changes: step.changes } : { Id: id, Outcome: outcome }
}

function toFailure (request: SetRequest, id: string, error: ServiceError): SetProgress {
  const instance = `/buckets/${request.params.bucket}/inventories/${encodeURIComponent(id)}`
  return { Id: id, Outcome: 'Failed', problem: problemOf(error, request.id, instance) }
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
