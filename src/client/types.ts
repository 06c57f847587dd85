import type { components } from './openapi.ts'

type Schemas = components['schemas']

export type Configuration = Schemas['InventoryConfiguration']
export type ConfigurationInput = Schemas['InventoryConfigurationInput']
export type ConfigurationPatch = Schemas['InventoryConfigurationPatch']
export type DesiredSet = Schemas['DesiredSet']
export type Job = Schemas['InventoryJobInput']
export type PreflightWarning = Schemas['PreflightWarning']
export type Problem = Schemas['Problem']
export type ReportList = Schemas['ReportList']
export type ReportRow = Schemas['ReportRow']
export type SetOutcome = Schemas['SetOutcome']
export type SetProgress = Schemas['SetProgress']

/** The service, and the bucket that a client works on. */
export interface ClientOptions {
  /** URL of the service, with the path of a gateway if there is one. */
  url: string
  /** Bucket with its APPID, such as `examplebucket-1250000000`. */
  bucket: string
  /** Key or JWT of the caller. A function is called for each attempt, so that it can return a fresh token. */
  token?: string | (() => string | Promise<string>) | undefined
  /** Region of the bucket. By default, the service knows it. */
  region?: string | undefined
  /** Attempts of each request in all, 3 by default. */
  maxAttempts?: number
  /** The longest pause before a retry in milliseconds, 60,000 by default. A longer Retry-After is not awaited. */
  maxPauseMs?: number
  /** Sends the requests, for example through a proxy. The global function by default. */
  fetch?: typeof fetch
}

/** Options of all methods. */
export interface CallOptions {
  /** Cancels the request and the pause before a retry. The client has no other time limit. */
  signal?: AbortSignal | undefined
}

/** The condition of a change. */
export interface ConditionOptions extends CallOptions {
  /** Changes only the configuration with this ETag. Others are rejected with 412 `PreconditionFailed`. */
  ifMatch?: string | undefined
}

/** Options of changes with a configuration as body. */
export interface BodyOptions extends CallOptions {
  /** Sends members and values that the service does not know to COS. */
  allowUnknown?: boolean | undefined
  /** Checks for configurations without a useful report: returns warnings, or rejects with 400. */
  preflight?: 'warn' | 'enforce' | undefined
}

/** Options of a put. */
export interface PutOptions extends BodyOptions, ConditionOptions {
  /** `*` creates only. An existing configuration is 412 `PreconditionFailed`. */
  ifNoneMatch?: '*' | undefined
}

/** Options of a desired set. */
export interface SetOptions extends CallOptions {
  /** Deletes the configurations that the set does not contain. */
  prune?: boolean | undefined
  /** Sends members and values that the service does not know to COS. */
  allowUnknown?: boolean | undefined
}

/** The place of reports, if the stored configuration does not name it. */
export interface PlaceOptions extends CallOptions {
  /** Destination bucket with its APPID. */
  destination?: string | undefined
  /** Prefix of reports in the destination bucket. */
  prefix?: string | undefined
}

/** Selects reports. Days have the form YYYYMMDD. */
export interface ReportsOptions extends PlaceOptions {
  from?: string | undefined
  to?: string | undefined
  /** Most reports, 1 to 500, 31 by default. */
  limit?: number | undefined
}

/** Selects rows. */
export interface RowsOptions extends PlaceOptions {
  /** Day of the report, YYYYMMDD. The latest one by default. */
  date?: string | undefined
  /** Columns. All by default. */
  fields?: readonly string[] | undefined
  /** Only objects whose key begins with this text. */
  keyPrefix?: string | undefined
  /** Most rows. */
  limit?: number | undefined
  /** Index of the only data file to read. */
  file?: number | undefined
}

/** A configuration and its entity tag. */
export interface Versioned {
  configuration: Configuration
  etag: string
}

/** The result of a put. */
export interface Stored {
  etag: string
  /** Only with `preflight`. */
  warnings: PreflightWarning[]
}

/** The result of starting a job. */
export interface Started {
  /** Undefined if COS returned none. */
  jobId: string | undefined
  /** Only with `preflight`. */
  warnings: PreflightWarning[]
}

/** Returns what a configuration should be. Undefined means that it stays as it is. */
export type Change = (current: Configuration) => ConfigurationInput | undefined

/**
 * The inventory configurations of a bucket. All methods reject with an InventoryError if the service returns an error,
 * and with the error of fetch if there is no complete response.
 */
export interface InventoryClient {
  /** Reads a configuration. */
  get (id: string, options?: CallOptions): Promise<Versioned>
  /** Reads a configuration. Undefined if the bucket has none of this id. */
  find (id: string, options?: CallOptions): Promise<Versioned | undefined>
  /** Reads a configuration. Undefined if it still has this ETag. */
  getIfChanged (id: string, etag: string, options?: CallOptions): Promise<Versioned | undefined>
  /** Creates or replaces a configuration. */
  put (id: string, configuration: ConfigurationInput, options?: PutOptions): Promise<Stored>
  /** Returns the XML that the service would send to COS. Changes nothing. */
  preview (id: string, body: ConfigurationInput | Job, options?: BodyOptions): Promise<string>
  /** Changes part of a configuration with a JSON merge patch (RFC 7396). */
  patch (id: string, patch: ConfigurationPatch, options?: ConditionOptions): Promise<Versioned>
  /**
   * Reads a configuration, and puts what `change` returns if the configuration is still the same. Otherwise starts
   * again, up to 20 times. Undefined from `change` means that nothing is to do. Rejects with 404 for a configuration
   * that does not exist.
   */
  update (id: string, change: Change, options?: BodyOptions): Promise<void>
  /** Deletes a configuration. Also succeeds if there is none. */
  delete (id: string, options?: ConditionOptions): Promise<void>
  /** Starts a one-time job. It is never retried. */
  start (id: string, job: Job, options?: BodyOptions): Promise<Started>
  /** Returns all configurations, in order of creation. Reads a page of 100 when the previous one is consumed. */
  list (options?: CallOptions): AsyncIterable<Configuration>
  /** Returns what `apply` would change. */
  plan (set: DesiredSet, options?: SetOptions): Promise<SetOutcome>
  /** Brings the bucket to a desired set. `Failed` has the changes that failed: apply the same set again. */
  apply (set: DesiredSet, options?: SetOptions): Promise<SetOutcome>
  /** Brings the bucket to a desired set, and returns the outcome of each configuration as soon as it is known. */
  applying (set: DesiredSet, options?: SetOptions): AsyncIterable<SetProgress>
  /** Lists the delivered reports, the latest first. */
  reports (id: string, options?: ReportsOptions): Promise<ReportList>
  /** Returns the rows of a report. Rejects when the service breaks the response off, because a check failed. */
  rows (id: string, options?: RowsOptions): AsyncIterable<ReportRow>
}
