import { writeFileSync } from 'node:fs'
import { configurationReference } from './config/reference.ts'

/** Writes `docs/configuration.md` from the table of configuration variables. */
writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationReference())
