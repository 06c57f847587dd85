/** Finds where a request reads reports, and whether its caller may. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import type { Call } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'
import { authorizeDestination } from '../http/access/authorization.ts'
import type { BucketCalls } from '../http/bucket-call.ts'
import { namedSource, sourceOf } from '../reports/destination.ts'
import type { ReportSource } from '../reports/destination.ts'

export interface SourceOptions {
  bucketCalls: BucketCalls
  inventories: VersionedInventories
  /** Whether `REPORTS` is true. */
  isEnabled: boolean
}

/** A source, and the call that reads it. */
export interface Target {
  source: ReportSource
  call: Call
}

type ReportRequest = FastifyRequest<{
  Params: { bucket: string, id: string }
  Querystring: { destination?: string, prefix?: string }
}>

/**
 * Rejects requests while reports are disabled, and a destination in the query that the caller may not read. This is an
 * onRequest hook, so that COS is not called.
 *
 * @throws {ServiceError} ReportsDisabled, CallerNotAllowed
 */
export function createSourceCheck ({ isEnabled }: Pick<SourceOptions, 'isEnabled'>) {
  return async (request: FastifyRequest, _: FastifyReply): Promise<void> => {
    if (!isEnabled) {
      throw new ServiceError('ReportsDisabled', 'The service runs without REPORTS=true. Contact the operator to enable reports.')
    }
    const { destination } = request.query as Record<string, unknown>
    if (typeof destination === 'string') authorizeDestination(request.context, destination)
  }
}

/**
 * Returns the source that the query names, or that of the stored configuration.
 *
 * @throws {ServiceError} CallerNotAllowed, ReportUnsupported, and the errors of GET of a configuration
 */
export async function findTarget (
  request: ReportRequest, { bucketCalls, inventories }: SourceOptions
): Promise<Target> {
  const { params: { bucket, id }, query: { destination, prefix = '' }, context } = request
  const call = context.call as Call
  const source = destination === undefined
    ? sourceOf({ bucket, id }, await bucketCalls.run(request, each => inventories.get(each, id))
      .then(({ value }) => value.configuration, (error: unknown) => { throw withJobAdvice(error) }))
    : namedSource({ bucket, id }, { bucket: destination, prefix, region: call.region })
  authorizeDestination(context, source.bucket)
  return { source, call: { ...call, bucket: source.bucket, region: source.region } }
}

/** Adds to the error of an unknown configuration where the reports of other jobs are. */
function withJobAdvice (error: unknown): unknown {
  const known = error as ServiceError
  if (known.code !== 'InventoryConfigurationNotFoundError') return error
  return new ServiceError(known, `${known.detail} COS does not store one-time jobs: name the destination of a one-time ` +
    'or deleted job in the query parameters destination and prefix.', known)
}

/**
 * Adds to an error of the destination what is wrong with it: a missing bucket, an archived object, or the permission
 * that the credentials of the service need.
 *
 * @throws {ServiceError} the error
 */
export async function withDestinationAdvice<T> ({ source }: Target, result: Promise<T>): Promise<T> {
  return await result.catch((error: unknown) => {
    const known = error as ServiceError
    const { code, detail } = known
    const { bucket, region, folder, isEnabled } = source
    const withDetail = (text: string) => new ServiceError(known, text, known)
    if (code === 'NoSuchBucket') {
      const place = region === undefined ? '' : ` in ${region}`
      const given = isEnabled === undefined ? 'query parameters destination and region' : 'destination of the configuration'
      throw withDetail(`The destination bucket ${bucket} does not exist${place}. Check the ${given}.`)
    }
    if (code === 'InvalidObjectState') throw withDetail(`${detail} COS has archived the object: restore it first.`)
    if (code !== 'AccessDenied') throw error
    const resource = `qcs::cos:${region ?? '*'}:uid/${bucket.slice(bucket.lastIndexOf('-') + 1)}:${bucket}/${folder}/*`
    throw withDetail(`${detail} The credentials of this service need cos:GetBucket, cos:GetObject and ` +
      `cos:HeadObject on ${resource}.`)
  })
}
