/** The calls to COS that this service makes, by the names that CAM gives them. */
export type Operation = 'PutBucketInventory' | 'GetBucketInventory' | 'DeleteBucketInventory' | 'PostBucketInventory' |
  'ListBucketInventory' | 'GetService'

/** What COS responds to an operation with. */
export interface Success {
  /** The one status that the documentation names. Another 2xx, such as 206, is no whole response. */
  status: number
  /** Bytes of the body. */
  maxBytes: number
}

const kibibyte = 1024
const mebibyte = 1024 * 1024

/** Bytes of an error document or of an acknowledgment. COS sends less than 1 KiB. */
export const maxErrorBytes = 64 * kibibyte

/** Bytes of one configuration. This service writes half of it at most. */
export const maxConfigurationBytes = 512 * kibibyte

/** Bytes of a page of configurations, and of all pages together: a thousand configurations of 8 KiB each. */
export const maxListBytes = 8 * mebibyte

/** Responses of COS by operation (COS documents 30625, 30623, 30626, 46869, 30627, 8291). */
export const successes: Readonly<Record<Operation, Success>> = {
  PutBucketInventory: { status: 200, maxBytes: maxErrorBytes },
  GetBucketInventory: { status: 200, maxBytes: maxConfigurationBytes },
  DeleteBucketInventory: { status: 204, maxBytes: maxErrorBytes },
  PostBucketInventory: { status: 200, maxBytes: maxErrorBytes },
  ListBucketInventory: { status: 200, maxBytes: maxListBytes },
  // 2,000 buckets of some 250 bytes each.
  GetService: { status: 200, maxBytes: 2 * mebibyte }
}
