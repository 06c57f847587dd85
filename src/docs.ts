import { writeFileSync } from 'node:fs'
import { configurationReference } from './config/reference.ts'
import { errorReference } from './http/errors/error-reference.ts'

const docs = new URL('../docs/', import.meta.url)

// The pages that tables of the source define.
writeFileSync(new URL('configuration.md', docs), configurationReference())
writeFileSync(new URL('errors.md', docs), errorReference())
