/** The data files of delivered reports. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { ReportFilePathSchema, ReportQuerySchema } from '../contract/reports.ts'
import { RangeHeadersSchema } from '../contract/requests.ts'
import type { OpenObject } from '../cos/report-objects.ts'
import { ServiceError } from '../errors.ts'
import { rejectBody } from '../http/body/json-body.ts'
import { cosHeaders } from '../http/errors/problem-replies.ts'
import { sendPieces } from '../http/long-response.ts'
import { readVerbatim } from '../reports/data-file.ts'
import type { DataFile } from '../reports/manifest.ts'
import type { Reports } from '../reports/reports.ts'
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

const gzip = 'application/gzip'
const binary = { type: 'string', format: 'binary' }

/** Adds the data files of the report of a day. */
export const reportFileRoute: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  const { reports } = options
  app.addHook('onRequest', createSourceCheck(options))
  app.get('/buckets/:bucket/inventories/:id/reports/:date/files/:file', {
    attachValidation: true,
    config: { action: 'reports:ReadRows', statuses: statusesOfReport },
    preParsing: [rejectBody],
    exposeHeadRoute: false,
    schema: {
      operationId: 'getReportFile',
      tags: reportTags,
      summary: 'Read a data file',
      description: 'The compressed CSV as COS stores it. A Range header with one range is supported. Size and MD5 are ' +
        'compared for whole files only.',
      params: ReportFilePathSchema,
      querystring: ReportQuerySchema,
      headers: RangeHeadersSchema,
      response: {
        200: content('The file.', gzip, binary, ['ETag']),
        206: content('The range.', gzip, binary, ['ETag', 'Content-Range'])
      } as Responses
    }
  }, async (request, reply) => {
    const { date, file: index } = request.params
    takeSlot(request, options)
    const target = await findTarget(request, options)
    const { value: { content: { files } } } =
      await withDestinationAdvice(target, reports.read(target.call, target.source, date))
    const file = files[Number(index)]
    if (file === undefined) {
      throw new ServiceError('ReportNotFound', `The report has ${files.length} data files, counted from 0. Name one of them.`)
    }
    const progress = beginStream(request, reply, date, options)
    const { open, close } = createFiles(target, options)
    const { value: { status, headers, stream }, cos } =
      await withDestinationAdvice(target, open(file, rangeOf(request)))
    async function * pieces (): AsyncGenerator<Buffer, undefined> {
      // A range has no checksum.
      const part = status === 200 ? file as DataFile : { ...file as DataFile, size: undefined, md5: undefined }
      for await (const chunk of readVerbatim(stream, part)) {
        progress.bytes += chunk.length
        yield chunk
      }
    }
    const onBegin = () => {
      cosHeaders(reply, cos)
      reply.code(status as 200 | 206).headers(passedOn(headers)).type('application/gzip')
    }
    return await sendPieces(request, reply, pieces(), { onBegin, close })
  })
}

/**
 * Returns the Range header if it has one valid range. A range that ends before it begins is invalid (RFC 9110, section
 * 14.1.1). Servers may ignore any other value (section 14.2); no file needs more than 15 digits.
 */
function rangeOf ({ headers }: FastifyRequest): string | undefined {
  const { range = '', 'if-range': condition } = headers
  const [oneRange, first = '', last = ''] = /^bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-[0-9]{1,15})$/.exec(range) ?? []
  const isReversed = last !== '' && Number(last) < Number(first)
  return condition === undefined && !isReversed ? oneRange : undefined
}

/** Returns the headers of COS that describe the bytes. */
function passedOn (headers: OpenObject['headers']): Record<string, string> {
  const passed: Record<string, string> = { 'accept-ranges': 'bytes' }
  for (const name of ['content-length', 'content-range', 'etag', 'last-modified']) {
    const value = headers[name]
    if (typeof value === 'string') passed[name] = value
  }
  return passed
}
