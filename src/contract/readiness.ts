import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { StringEnum } from './schema.ts'

/** A part of the service and its state. It names no secret and no path, and of the files only the APPIDs. */
export const ComponentSchema = Type.Object({
  name: StringEnum(['credentials', 'accounts', 'callers', 'tls', 'auditLog', 'redis']),
  state: StringEnum(['ok', 'outdated', 'failing', 'disabled'], {
    description: '`outdated`: the last reload or refresh failed, and the previous content stays in effect. `failing`: the part ' +
      'is unavailable. `disabled`: it is not configured.'
  }),
  account: Type.Optional(Type.String({
    description: 'For `credentials`: the account by its APPID, or `default`.'
  })),
  readAt: Type.Optional(Type.String({
    format: 'date-time',
    description: 'When the content in effect was read, for parts that read files.'
  }))
}, {
  $id: 'Component',
  description: 'A part of the service and its state.',
  examples: [{ name: 'callers', state: 'ok', readAt: '2026-11-01T08:00:00.000Z' }]
})

export type Component = Static<typeof ComponentSchema>
