/** The calls to COS that this service makes, by the names that CAM gives them. */
export type Operation = 'PutBucketInventory' | 'GetBucketInventory' | 'DeleteBucketInventory' | 'PostBucketInventory' |
  'ListBucketInventory' | 'GetService' | 'GetBucket' | 'GetObject' | 'HeadObject'

/** The success response of an operation. */
export interface Success {
  /** The only status that COS documents for the call. Another 2xx, such as 206, is not a whole response. */
  status: number
  /** The largest body, in bytes. */
  maxBytes: number
}

const kibibyte = 1024
const mebibyte = 1024 * 1024

/** The largest error document or acknowledgment, in bytes. COS sends less than 1 KiB. */
export const maxErrorBytes = 64 * kibibyte

/** The largest configuration, in bytes. This service writes at most half of it. */
export const maxConfigurationBytes = 512 * kibibyte

/** The largest page, and the most bytes of all pages together: a thousand configurations of 8 KiB each. */
export const maxListBytes = 8 * mebibyte

/** The largest page of objects, in bytes: 1,000 percent-encoded keys of 850 bytes, with 500 bytes of other elements. */
export const maxObjectPageBytes = 4 * mebibyte

/** The largest manifest of a report, in bytes: 50,000 files of some 150 bytes each. */
export const maxManifestBytes = 8 * mebibyte

/** The largest checksum of a manifest, in bytes. */
export const maxChecksumBytes = kibibyte

/** Responses of COS by operation (COS documents 30625, 30623, 30626, 46869, 30627, 8291, 7734, 7753, 7745). */
export const successes: Readonly<Record<Operation, Success>> = {
  PutBucketInventory: { status: 200, maxBytes: maxErrorBytes },
  GetBucketInventory: { status: 200, maxBytes: maxConfigurationBytes },
  DeleteBucketInventory: { status: 204, maxBytes: maxErrorBytes },
  PostBucketInventory: { status: 200, maxBytes: maxErrorBytes },
  ListBucketInventory: { status: 200, maxBytes: maxListBytes },
  // 2,000 buckets of some 250 bytes each.
  GetService: { status: 200, maxBytes: 2 * mebibyte },
  GetBucket: { status: 200, maxBytes: maxObjectPageBytes },
  GetObject: { status: 200, maxBytes: maxManifestBytes },
  HeadObject: { status: 200, maxBytes: 0 }
}
