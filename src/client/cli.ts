#!/usr/bin/env node
/** The command line of the client. */
import { run } from './cli/run.ts'

const { argv, stdin, stdout, stderr, env } = process

/** Commands that change something. They end as they would without a reader of their output. */
const changes = ['put', 'delete', 'apply']

// Programs such as head close the pipe when they have enough.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    stderr.write(`cos-inventory-client: ${error.message}\n`)
    process.exit(1)
  }
  // The exit code of plan says whether there are changes, so it must not be 0.
  if (!changes.includes(argv[2] as string)) process.exit(argv[2] === 'plan' ? 1 : 0)
})
process.exitCode = await run(argv.slice(2), { stdin, stdout, stderr, env })
