import { build } from './program.ts'

/** What the tests of programs run: tap calls this before the first of them. */
build()
