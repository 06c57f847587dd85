import { Type } from '@sinclair/typebox'
import { closed, component, Forbidden, Word } from './schema.ts'

const MonthlyDate = Type.Integer({
  minimum: 1,
  maximum: 31,
  description: 'Day of the month, 1 to 31. Required with Frequency Monthly, not allowed otherwise.',
  examples: [1]
})

/** The schedule of a configuration. */
export const Schedule = component('Schedule', Type.Object({
  Frequency: Word(['Daily', 'Weekly', 'Monthly'], { description: 'Daily, Weekly or Monthly.', examples: ['Daily'] }),
  MonthlyDate: Type.Optional(MonthlyDate)
}, {
  ...closed,
  description: 'The times at which COS creates a report.',
  if: { properties: { Frequency: { const: 'Monthly' } }, required: ['Frequency'] },
  then: { properties: { Frequency: {}, MonthlyDate: {} }, required: ['MonthlyDate'] },
  else: { properties: { Frequency: {}, MonthlyDate: Forbidden('is only allowed with Frequency Monthly') } }
}))
