import {
  DesiredSetSchema, InventoryConfigurationPatchSchema, SetOutcomeSchema, SetProgressSchema
} from './desired-set.ts'
import {
  InventoryConfigurationInputSchema, InventoryConfigurationSchema, InventoryJobInputSchema, InventoryJobSchema,
  InventoryPageSchema
} from './inventory.ts'
import { PreflightWarningSchema } from './preflight.ts'
import { ProblemSchema } from './problem.ts'
import { ComponentSchema } from './readiness.ts'
import { ReportListSchema, ReportRowSchema, ReportSchema, ReportSummarySchema } from './reports.ts'

/** The schemas of responses that have no body of a bucket. */
export const commonSchemas = [ComponentSchema, ProblemSchema]

/** All schemas with a name, in the order in which the OpenAPI document lists them. */
export const schemas = [
  InventoryConfigurationSchema, InventoryConfigurationInputSchema, InventoryJobInputSchema, InventoryJobSchema,
  InventoryPageSchema, InventoryConfigurationPatchSchema, DesiredSetSchema, SetOutcomeSchema, SetProgressSchema,
  PreflightWarningSchema, ReportSummarySchema, ReportListSchema, ReportSchema, ReportRowSchema, ...commonSchemas
]
