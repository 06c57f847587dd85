/** The operations on delivered reports, without their rows. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { TSchema } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { failedPrecondition } from '../changes/version.ts'
import {
  ReportListQuerySchema, ReportListSchema, ReportPathSchema, ReportQuerySchema, ReportSchema, ReportsPathSchema
} from '../contract/reports.ts'
import { ReadHeadersSchema } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import type { Outcome } from '../cos/inventories.ts'
import type { ListedReport } from '../cos/report-objects.ts'
import { ServiceError } from '../errors.ts'
import { rejectBody } from '../http/body/json-body.ts'
import { preconditionsOf } from '../http/body/preconditions.ts'
import { incomplete, reportTag } from '../reports/reports.ts'
import type { Reports } from '../reports/reports.ts'
import { statusesOfAll } from '../http/openapi/responses.ts'
import { reportTags, statusesOfReport, toReport, toSummary } from './report-responses.ts'
import { createSourceCheck, findTarget, withDestinationAdvice } from './report-source.ts'
import type { SourceOptions, Target } from './report-source.ts'
import { json, noBody, sendResult } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options extends SourceOptions {
  reports: Reports
  /** Wall clock, in milliseconds since 1970. */
  now: () => number
}

type Scope = Parameters<FastifyPluginAsyncTypebox>[0]

const path = '/buckets/:bucket/inventories/:id/reports'
const common = { attachValidation: true, preParsing: [rejectBody] }
const action = 'reports:Read' as const

/** Reports of a list if the caller names no limit. */
const defaultLimit = 31

/** Adds the list of reports, the latest one, and that of a day. */
export const reportRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  app.addHook('onRequest', createSourceCheck(options))
  addList(app, options)
  addReport(app, options)
}

function addList (app: Scope, options: Options): void {
  const { reports, now } = options
  app.get(path, {
    ...common,
    config: { action, statuses: statusesOfAll },
    schema: {
      operationId: 'listReports',
      tags: reportTags,
      summary: 'List the delivered reports',
      description: 'Returns reports of the stored configuration, the latest first. COS may list a new report some ' +
        'seconds late. A report is listed once its manifest exists.',
      params: ReportsPathSchema,
      querystring: ReportListQuerySchema,
      response: { 200: json('The reports.', refTo(ReportListSchema)) } as Responses
    }
  }, async (request, reply) => {
    const { from, to, limit = defaultLimit } = request.query
    rejectReversed(from, to)
    const target = await findTarget(request, options)
    const { value, cos } = await withDestinationAdvice(target, reports.list(target.call, target.source, { from, to }))
    const page = value.slice(0, Number(limit))
    const summaries = page.map(each => toSummary(each, target.source, now()))
    return sendResult(reply, { value: { Reports: summaries, IsTruncated: page.length < value.length }, cos })
  })
}

type ReportRequest = FastifyRequest<{
  Params: { bucket: string, id: string, date?: string }
  Querystring: { destination?: string, prefix?: string }
}>

function addReport (app: Scope, options: Options): void {
  const { sendLatest, sendOfDay } = createHandlers(options)
  const schemaOf = <P extends TSchema>(operationId: string, summary: string, params: P, success: object) => ({
    operationId,
    tags: reportTags,
    summary,
    params,
    querystring: ReportQuerySchema,
    headers: ReadHeadersSchema,
    response: { 200: success } as Responses
  })
  const exists = noBody('The report exists.', ['ETag'])
  const report = json('The report.', refTo(ReportSchema), ['ETag'])
  const get = { ...common, config: { action, statuses: [304, ...statusesOfReport] } }
  const head = { ...common, config: { ...get.config, swagger: { exposeHeadRoute: true } } }
  app.head(`${path}/latest`,
    { ...head, schema: schemaOf('headLatestReport', 'Check for a report', ReportsPathSchema, exists) }, sendLatest)
  app.get(`${path}/latest`,
    { ...get, schema: schemaOf('getLatestReport', 'Read the latest report', ReportsPathSchema, report) }, sendLatest)
  app.head(`${path}/:date`,
    { ...head, schema: schemaOf('headReport', 'Check for the report of a day', ReportPathSchema, exists) }, sendOfDay)
  app.get(`${path}/:date`,
    { ...get, schema: schemaOf('getReport', 'Read the report of a day', ReportPathSchema, report) }, sendOfDay)
}

function createHandlers (options: Options) {
  const { reports, now } = options
  const tagOf = ({ value }: Outcome<ListedReport>, { source }: Target) => reportTag(value, source, now())

  function isUnchanged (request: FastifyRequest, report: Outcome<ListedReport>, target: Target): boolean {
    const { ifNoneMatch } = preconditionsOf(request)
    return failedPrecondition({ ifMatch: undefined, ifNoneMatch }, tagOf(report, target)) !== undefined
  }

  function sendUnchanged (reply: FastifyReply, report: Outcome<ListedReport>, target: Target): FastifyReply {
    return sendResult(reply.code(304), { value: undefined, cos: report.cos, etag: tagOf(report, target) })
  }

  async function sendReport (
    request: ReportRequest, reply: FastifyReply, target: Target, date: string
  ): Promise<FastifyReply> {
    const report = await withDestinationAdvice(target, reports.read(target.call, target.source, date))
    if (isUnchanged(request, report, target)) return sendUnchanged(reply, report, target)
    const { value, cos } = report
    return sendResult(reply, { value: toReport(value, target.source, now()), cos, etag: tagOf(report, target) })
  }

  return {
    async sendLatest (request: ReportRequest, reply: FastifyReply): Promise<FastifyReply> {
      const target = await findTarget(request, options)
      const latest = await withDestinationAdvice(target, reports.latest(target.call, target.source))
      // A poll of an unchanged report does not read its manifest.
      if (isUnchanged(request, latest, target)) return sendUnchanged(reply, latest, target)
      if (!latest.value.hasChecksum) throw incomplete('Its checksum does not exist yet.')
      return await sendReport(request, reply, target, latest.value.date)
    },

    async sendOfDay (request: ReportRequest, reply: FastifyReply): Promise<FastifyReply> {
      return await sendReport(request, reply, await findTarget(request, options), request.params.date as string)
    }
  }
}

function rejectReversed (from: string | undefined, to: string | undefined): void {
  if (from === undefined || to === undefined || from <= to) return
  throw new ServiceError('ValidationFailed', 'The parameter from is later than to. Correct one of them.',
    { errors: [{ in: 'query', pointer: '/from', detail: 'must not be later than to' }] })
}
