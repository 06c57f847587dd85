import { writeFileSync } from 'node:fs'
import { configurationReference } from './config/reference.ts'
import { errorReference } from './http/errors/error-reference.ts'

// The pages of the working directory that tables of the source define.
writeFileSync('docs/configuration.md', configurationReference())
writeFileSync('docs/errors.md', errorReference())
