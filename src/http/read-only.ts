import type { FastifyInstance } from 'fastify'
import { ServiceError } from '../errors.ts'
import { isChange } from './audit.ts'

/** Refuses every change, whoever asks (preHandler). @throws {ServiceError} ReadOnly */
export function refuseChanges (app: FastifyInstance): void {
  app.addHook('preHandler', (request, _, done) => {
    if (isChange(request)) throw new ServiceError('ReadOnly', 'This service runs with READ_ONLY=true and changes nothing.')
    done()
  })
}
