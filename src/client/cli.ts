#!/usr/bin/env node
/** The command line of the client. */
import { run } from './cli/run.ts'

const { stdin, stdout, stderr, env } = process

// Programs such as head close the pipe when they have enough.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  stderr.write(`cos-inventory-client: ${error.message}\n`)
  process.exit(1)
})
process.exitCode = await run(process.argv.slice(2), { stdin, stdout, stderr, env })
