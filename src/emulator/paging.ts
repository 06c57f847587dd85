import { createHash } from 'node:crypto'
import { CosError } from './cos-error.ts'
import type { StoredInventory } from './state-file.ts'

const pageSize = 100

/**
 * Returns the document of LIST: one page of the configurations of a bucket.
 *
 * @param token undefined or empty for the first page
 * @throws CosError InvalidArgument for a token of another bucket or of no page
 */
export function toPage (bucket: string, stored: StoredInventory[], token: string | undefined): string {
  const after = token ? readToken(bucket, token) : 0
  const rest = stored.filter(({ sequence }) => sequence > after)
  const page = rest.slice(0, pageSize)
  const last = page.at(-1)
  const isTruncated = last !== undefined && rest.length > page.length
  const elements = [
    ...page.map(({ xml }) => xml),
    `<IsTruncated>${isTruncated}</IsTruncated>`,
    `<ContinuationToken>${token ?? ''}</ContinuationToken>`,
    isTruncated ? `<NextContinuationToken>${makeToken(bucket, last.sequence)}</NextContinuationToken>` : ''
  ]
  const root = 'ListInventoryConfigurationResult'
  return `<${root}>${elements.join('')}</${root}>`
}

/**
 * Returns the value of the parameter max-keys; the most when it is absent or empty.
 *
 * @throws CosError InvalidArgument when it is not 1 to the most
 */
export function readMaxKeys (value: string | undefined, most: number): number {
  if (!value) return most
  const number = /^\d{1,4}$/.test(value) ? Number(value) : 0
  if (number < 1 || number > most) {
    throw new CosError('InvalidArgument', `The parameter max-keys must be 1 to ${most}.`)
  }
  return number
}

// The first three bytes make each token begin with +/+/, and the length of 23 makes it end with =. A client that does
// not percent-encode a token therefore never gets a second page.
function makeToken (bucket: string, sequence: number): string {
  const position = Buffer.alloc(4)
  position.writeUInt32BE(sequence)
  const check = createHash('sha1').update(`${bucket} ${sequence}`).digest().subarray(0, 16)
  return Buffer.concat([Buffer.from([0xfb, 0xff, 0xbf]), position, check]).toString('base64')
}

function readToken (bucket: string, token: string): number {
  const bytes = Buffer.from(token, 'base64')
  const sequence = bytes.length === 23 ? bytes.readUInt32BE(3) : 0
  if (makeToken(bucket, sequence) !== token) {
    throw new CosError('InvalidArgument', 'The continuation-token is not one of this bucket.')
  }
  return sequence
}
