/** Client of cos-inventory-proxy for Node 20 and newer, and for browsers. It has no dependencies. */
export { createInventoryClient } from './client.ts'
export { InventoryError } from './error.ts'
export type {
  BodyOptions, CallOptions, Change, ClientOptions, ConditionOptions, Configuration, ConfigurationInput,
  ConfigurationPatch, DesiredSet, InventoryClient, Job, PlaceOptions, PreflightWarning, Problem, PutOptions, ReportList,
  ReportRow, ReportsOptions, RowsOptions, SetOptions, SetOutcome, SetProgress, Started, Stored, Versioned
} from './types.ts'
