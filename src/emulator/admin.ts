import { isAdminHost } from './admin-host.ts'
import type { CosResponse } from './response.ts'
import type { Emulator } from './emulator.ts'
import { parseFault } from './faults.ts'
import { isBucketName, isCosHost } from './host.ts'
import type { ReportOrder } from './reports/order.ts'
import type { ReportRejection } from './reports/rejection.ts'
import { type Body, type CosRequest, maxBodyBytes } from './request.ts'

interface AdminRequest { query: URLSearchParams, value: unknown }
interface AdminReply { status: number, value?: unknown }
type Handler = (emulator: Emulator, request: AdminRequest) => AdminReply | Promise<AdminReply>

const handlers: Record<string, Record<string, Handler>> = {
  '/_emulator/health': {
    GET: () => ({ status: 200, value: { status: 'ok' } })
  },
  '/_emulator/faults': {
    GET: emulator => ({
      status: 200,
      // A fault without `times` remains Infinity times, which is null in JSON.
      value: emulator.faults().map(({ id, fault, remaining }) => ({ id, ...fault, remaining }))
    }),
    POST: addFault,
    DELETE: emulator => {
      emulator.clearFaults()
      return { status: 204 }
    }
  },
  '/_emulator/clock': { PUT: setClock },
  '/_emulator/requests': {
    GET: emulator => ({ status: 200, value: emulator.requests })
  },
  '/_emulator/configurations': { GET: listConfigurations },
  '/_emulator/reports': { POST: deliverReport },
  '/_emulator/reset': {
    POST: emulator => {
      emulator.reset()
      return { status: 204 }
    }
  }
}

/** Tells whether a request is for the emulator itself. A request with the Host of a COS domain never is. */
export function isAdminRequest ({ host, rawPath }: CosRequest): boolean {
  return rawPath.startsWith('/_emulator/') && !isCosHost(host)
}

/**
 * Returns the JSON response to an admin request. Rejects pages in a browser, because they can reach loopback too.
 *
 * @param allowedHosts more names for the Host, without port
 */
export async function respondToAdmin (
  emulator: Emulator, request: CosRequest, body: Body, allowedHosts: readonly string[]
): Promise<CosResponse> {
  const { method, headers } = request
  if (!isAdminHost(request.host, emulator.host, allowedHosts)) {
    return toJson(rejection(403, 'the Host must be loopback, such as localhost, or the address in EMULATOR_HOST; ' +
      'set EMULATOR_ALLOWED_HOSTS to allow other names'))
  }
  const methods = handlers[request.rawPath]
  if (methods === undefined) return toJson(rejection(404, 'there is no such admin path'))
  const handler = methods[method]
  if (handler === undefined) {
    const allowed = Object.keys(methods).join(', ')
    return toJson(rejection(405, `only ${allowed}`), { Allow: allowed })
  }
  if (headers['origin'] !== undefined || headers['sec-fetch-site'] === 'cross-site') {
    return toJson(rejection(403, 'not for pages in a browser'))
  }
  if (!body.isWhole) return toJson(rejection(503, 'the request bodies in flight are too large together'))
  if (body.length > maxBodyBytes) return toJson(rejection(413, 'the body must have at most 1 MiB'))
  const value = parseJson(body.bytes)
  return toJson(await handler(emulator, { query: new URLSearchParams(request.rawQuery), value }))
}

function addFault (emulator: Emulator, { value }: AdminRequest): AdminReply {
  const parsed = parseFault(value)
  if ('errors' in parsed) return rejection(400, ...parsed.errors)
  try {
    return { status: 201, value: { id: emulator.addFault(parsed.fault) } }
  } catch (error) {
    return rejection(409, (error as RangeError).message)
  }
}

async function deliverReport (emulator: Emulator, { value }: AdminRequest): Promise<AdminReply> {
  try {
    return { status: 201, value: await emulator.deliverReport(value as ReportOrder) }
  } catch (error) {
    const { status, errors } = error as ReportRejection
    return rejection(status, ...errors)
  }
}

function setClock (emulator: Emulator, { value }: AdminRequest): AdminReply {
  const { offsetMs, ...others } = (value ?? {}) as Record<string, unknown>
  const errors = Object.keys(others).map(name => `${name} is not known`)
  if (!Number.isSafeInteger(offsetMs)) errors.unshift('offsetMs must be a whole number')
  if (errors.length > 0) return rejection(400, ...errors)
  emulator.setClockOffset(offsetMs as number)
  return { status: 200, value: { offsetMs } }
}

function listConfigurations (emulator: Emulator, { query }: AdminRequest): AdminReply {
  const bucket = query.get('bucket') ?? ''
  if (!isBucketName(bucket)) return rejection(400, 'the parameter bucket must be a bucket with its APPID')
  return { status: 200, value: emulator.configurations(bucket) }
}

function parseJson (bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}

function rejection (status: number, ...errors: string[]): AdminReply {
  return { status, value: { errors } }
}

function toJson ({ status, value }: AdminReply, headers: Record<string, string> = {}): CosResponse {
  const body = Buffer.from(value === undefined ? '' : JSON.stringify(value) + '\n')
  const about = { 'Content-Type': 'application/json', 'Content-Length': String(body.length) }
  return { status, headers: value === undefined ? headers : { ...headers, ...about }, body }
}
