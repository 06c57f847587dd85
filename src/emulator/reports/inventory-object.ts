/** An object of a source bucket, or one of its versions, as a row of a report. An absent member is an empty value. */
export interface InventoryObject {
  readonly Key: string
  readonly Size?: number | undefined
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number | undefined
  /** Without quotes. */
  readonly ETag?: string | undefined
  readonly StorageClass?: string | undefined
  readonly IsMultipartUploaded?: boolean | undefined
  readonly ReplicationStatus?: string | undefined
  readonly Tag?: Readonly<Record<string, string>> | undefined
  /** A string, because it has up to 20 digits. */
  readonly Crc64?: string | undefined
  /** By header names in lower case, such as x-cos-meta-owner. */
  readonly Metadata?: Readonly<Record<string, string>> | undefined
  readonly VersionId?: string | undefined
  readonly IsLatest: boolean
  readonly IsDeleteMarker: boolean
}

/** All that a source bucket contains. */
export interface BucketContents {
  /** The number of objects, or of versions. */
  readonly count: number
  /** True when the objects need no memory. */
  readonly isGenerated: boolean
  /** The headers that an object may have, sorted. */
  readonly metadataNames: readonly string[]
  /**
   * Returns an object. The same place always has the same one.
   *
   * @param index 0 to below the count
   * @param job what the report asks for: generated keys begin with its prefix, and have versions if it wants them
   */
  at (index: number, job: { keyPrefix: string, allVersions: boolean }): InventoryObject
}
