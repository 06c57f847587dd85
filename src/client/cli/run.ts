import { readFile } from 'node:fs/promises'
import { createInventoryClient } from '../client.ts'
import { InventoryError } from '../error.ts'
import { readArguments, readClientOptions, usage } from './arguments.ts'
import { commands } from './commands.ts'
import { createOutput } from './output.ts'
import type { OutputStream } from './output.ts'

/** Streams and variables of a process. */
export interface Process {
  stdin: AsyncIterable<Uint8Array>
  stdout: OutputStream
  stderr: OutputStream
  env: Record<string, string | undefined>
}

/** Runs a command. Returns the exit code: 0 for success, 1 for an error, 2 for a plan with changes. */
export async function run (words: readonly string[], { stdin, stdout, stderr, env }: Process): Promise<number> {
  const output = createOutput(stdout)
  const note = (text: string) => { stderr.write(`${text}\n`) }
  try {
    const args = readArguments(words)
    if (args.command === 'help') {
      await output.print(usage)
      return 0
    }
    if (args.command === 'version') {
      const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
      await output.print(`${version}\n`)
      return 0
    }
    const client = createInventoryClient(await readClientOptions(args, env))
    return await commands[args.command]({ client, args, stdin, output, note })
  } catch (error) {
    for (const line of describe(error as Error)) note(`cos-inventory-client: ${line}`)
    return 1
  }
}

function describe (error: Error): string[] {
  if (error instanceof InventoryError) {
    const { problem } = error
    const issues = problem?.errors?.map(issue => `${issue.in} ${issue.pointer} ${issue.detail}`) ?? []
    return [error.message, ...issues, ...problem === undefined ? [] : [`request id ${problem.requestId}`]]
  }
  // fetch gives the reason as the cause.
  const { code, message } = (error.cause ?? error) as NodeJS.ErrnoException
  const reason = message || code
  return [error.cause === undefined ? `${reason}` : `No complete response: ${reason}. Check the URL, or run the command again.`]
}
