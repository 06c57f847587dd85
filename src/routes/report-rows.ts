/** The rows of delivered reports. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { TSchema } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ReportPathSchema, ReportRowSchema, ReportsPathSchema, RowsQuerySchema } from '../contract/reports.ts'
import { refTo } from '../contract/schema.ts'
import type { ValidationIssue } from '../errors.ts'
import { rejectBody } from '../http/body/json-body.ts'
import { rejectIssues } from '../http/body/validation-issues.ts'
import { cosHeaders } from '../http/errors/problem-replies.ts'
import { sendPieces } from '../http/long-response.ts'
import type { Manifest } from '../reports/manifest.ts'
import type { Reports } from '../reports/reports.ts'
import { streamRows } from '../reports/row-stream.ts'
import type { RowProgress, RowRequest } from '../reports/row-stream.ts'
import { reportTags, statusesOfReport } from './report-responses.ts'
import { createSourceCheck, findTarget, withDestinationAdvice } from './report-source.ts'
import type { SourceOptions } from './report-source.ts'
import { beginStream, createFiles, takeSlot } from './report-stream.ts'
import type { StreamOptions } from './report-stream.ts'
import { content } from './responses.ts'
import type { Responses } from './responses.ts'

interface Options extends SourceOptions, StreamOptions {
  reports: Reports
}

interface RowsQuery {
  destination?: string
  prefix?: string
  fields?: string
  'key-prefix'?: string
  limit?: string
  file?: string
}

type RowsRequest = FastifyRequest<{ Params: { bucket: string, id: string, date?: string }, Querystring: RowsQuery }>

/** The most unknown columns that an issue names. */
const maxNamed = 10

const path = '/buckets/:bucket/inventories/:id/reports'

/** Adds the rows of the latest report and of that of a day. */
export const reportRowRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  app.addHook('onRequest', createSourceCheck(options))
  const sendRows = createHandler(options)
  const common = {
    attachValidation: true,
    config: { action: 'reports:ReadRows' as const, statuses: statusesOfReport },
    preParsing: [rejectBody],
    // HEAD would read the whole report.
    exposeHeadRoute: false
  }
  const schemaOf = <P extends TSchema>(operationId: string, summary: string, params: P) => ({
    operationId,
    tags: reportTags,
    summary,
    description: 'One JSON object a line for each object of the bucket, in the order of the data files. Types follow the ' +
      'columns of this report. Size and MD5 of each data file are compared while it is read. After the first byte an ' +
      'error closes the connection, so that an incomplete response cannot pass as a complete one.',
    params,
    querystring: RowsQuerySchema,
    response: { 200: content('The rows.', 'application/x-ndjson', refTo(ReportRowSchema)) } as Responses
  })
  const ofLatest = schemaOf('getLatestReportRows', 'Read the rows of the latest report', ReportsPathSchema)
  const ofDay = schemaOf('getReportRows', 'Read the rows of the report of a day', ReportPathSchema)
  app.get(`${path}/latest/rows`, { ...common, schema: ofLatest }, sendRows)
  app.get(`${path}/:date/rows`, { ...common, schema: ofDay }, sendRows)
}

function createHandler (options: Options) {
  const { reports } = options
  return async (request: RowsRequest, reply: FastifyReply): Promise<FastifyReply> => {
    takeSlot(request, options)
    const target = await findTarget(request, options)
    const { call, source } = target
    const date = request.params.date ?? (await withDestinationAdvice(target, reports.latest(call, source))).value.date
    const { value: report, cos } = await withDestinationAdvice(target, reports.read(call, source, date))
    const rows = rowRequestOf(request.query, report.content)
    const progress = beginStream(request, reply, date, options)
    const { open, close } = createFiles(target, options)
    async function * pieces (): AsyncGenerator<string, undefined> {
      yield * streamRows(rows, async file => (await open(file)).value.stream, progress, options.slots.pause)
      warnOfCount(request, report.content, rows, progress)
    }
    const onBegin = () => {
      cosHeaders(reply, cos)
      reply.type('application/x-ndjson')
    }
    return await withDestinationAdvice(target, sendPieces(request, reply, pieces(), { onBegin, close }))
  }
}

/**
 * Returns the rows that a query asks for.
 *
 * @throws {ServiceError} ValidationFailed for a column or a data file that the report does not have
 */
function rowRequestOf (
  { fields: names, 'key-prefix': keyPrefix, limit, file }: RowsQuery, { fields: columns, files }: Manifest
): RowRequest {
  const fields = names?.split(',').map(each => each.trim())
  const at = Number(file)
  const issues: ValidationIssue[] = []
  const reject = (pointer: string, detail: string) => { issues.push({ in: 'query', pointer, detail }) }
  const unknown = new Set(fields?.filter(each => !columns.includes(each)))
  if (unknown.size > 0) reject('/fields', `has unknown columns: ${named([...unknown])}. This report has ${columns.join(', ')}`)
  if (file !== undefined && at >= files.length) reject('/file', `must be less than ${files.length}, the number of data files`)
  if (keyPrefix !== undefined && !columns.includes('Key')) {
    reject('/key-prefix', 'needs the column Key, which this report does not have')
  }
  rejectIssues(issues)
  return {
    fields,
    keyPrefix,
    limit: limit === undefined ? undefined : Number(limit),
    files: file === undefined ? files : files.slice(at, at + 1),
    columns
  }
}

/** Returns the first of some names, each cut to 64 characters. */
function named (names: string[]): string {
  const first = names.slice(0, maxNamed).map(each => JSON.stringify(each.slice(0, 64))).join(', ')
  return names.length > maxNamed ? `${first} and ${names.length - maxNamed} more` : first
}

function warnOfCount (
  request: RowsRequest, { filterObjectCount }: Manifest, { files, limit }: RowRequest, { read }: RowProgress
): void {
  if (limit !== undefined || request.query.file !== undefined) return
  if (filterObjectCount === undefined || filterObjectCount === read) return
  request.log.warn({ rows: read, filterObjectCount, files: files.length },
    'report has another number of rows than its manifest says')
}
