import { build } from './program.ts'

/** tap runs this file before the first test, to build the programs under test. */
build()
