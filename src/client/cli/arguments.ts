import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { ClientOptions } from '../types.ts'

export const usage = `Usage: cos-inventory-client <command> <bucket> [<id>] [<file>] [options]

  list <bucket>             lists the configurations
  get <bucket> <id>         prints a configuration
  put <bucket> <id> <file>  creates or replaces a configuration
  delete <bucket> <id>      deletes a configuration
  export <bucket>           prints the set of all configurations, for plan and apply
  plan <bucket> <file>      shows the changes of apply, with exit code 2 if there are any
  apply <bucket> <file>     brings the bucket to the set in the file
  reports <bucket> <id>     lists the delivered reports
  rows <bucket> <id>        prints the rows of a report

<file> has JSON; "-" is standard input.

  --url <url>               the service, instead of COS_INVENTORY_URL
  --token-file <path>       file with the key or token, instead of COS_INVENTORY_TOKEN_FILE
  --token <token>           key or token, instead of COS_INVENTORY_TOKEN; other users can see arguments
  --region <region>         region of the bucket
  --json                    prints JSON instead of text
  --prune                   plan, apply: deletes configurations that are not in the set
  --allow-unknown           put, plan, apply: sends members that the service does not know
  --preflight <mode>        put: warn or enforce
  --date <YYYYMMDD>         rows: day of the report instead of the latest
  --fields <a,b>            rows: columns
  --key-prefix <text>       rows: only keys that begin with this text
  --file <n>                rows: index of the only data file
  --from, --to <YYYYMMDD>   reports: days
  --limit <n>               reports, rows: the most
  --destination <bucket>    reports, rows: place of the reports
  --prefix <prefix>         reports, rows: prefix there
  --help, --version

Exit codes: 0 success, 1 error, 2 plan with changes.
`

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const common = { url: text, token: text, 'token-file': text, region: text, json: flag, help: flag, version: flag }
const place = { destination: text, prefix: text, limit: text }
const setFlags = { prune: flag, 'allow-unknown': flag }

/** The options and arguments of each command, apart from those of all. */
const commands = {
  list: { options: {}, words: ['bucket'] },
  get: { options: {}, words: ['bucket', 'id'] },
  put: { options: { 'allow-unknown': flag, preflight: text }, words: ['bucket', 'id', 'file'] },
  delete: { options: {}, words: ['bucket', 'id'] },
  export: { options: {}, words: ['bucket'] },
  plan: { options: setFlags, words: ['bucket', 'file'] },
  apply: { options: setFlags, words: ['bucket', 'file'] },
  reports: { options: { ...place, from: text, to: text }, words: ['bucket', 'id'] },
  rows: { options: { ...place, date: text, fields: text, 'key-prefix': text, file: text }, words: ['bucket', 'id'] }
} as const

export type Command = keyof typeof commands

/** Arguments of the program. */
export interface Arguments {
  command: Command | 'help' | 'version'
  bucket: string
  id: string
  /** Path of the file with JSON, or `-`. */
  file: string
  options: {
    [name in 'url' | 'token' | 'token-file' | 'region' | 'preflight' | 'date' | 'fields' | 'key-prefix' | 'file' | 'from' | 'to' |
    'limit' | 'destination' | 'prefix']?: string
  } & { [name in 'json' | 'prune' | 'allow-unknown']?: boolean }
}

/** Reads the arguments of the program. Throws an error that says how to correct them. */
export function readArguments (words: readonly string[]): Arguments {
  const [command = 'help', ...rest] = words
  const none = { bucket: '', id: '', file: '', options: {} }
  if (/^(help|--help|-h)$/.test(command)) return { command: 'help', ...none }
  if (command === '--version') return { command: 'version', ...none }
  if (!isCommand(command)) throw new Error(`There is no command ${command}. Run cos-inventory-client --help.`)
  const names: readonly string[] = commands[command].words
  const options: Record<string, typeof text | typeof flag> = { ...common, ...commands[command].options }
  const { values, positionals } = parseArgs({ args: rest, options, allowPositionals: true })
  if (values['help'] === true) return { command: 'help', ...none }
  if (positionals.length !== names.length) {
    throw new Error(`Write: cos-inventory-client ${command} ${names.map(name => `<${name}>`).join(' ')}`)
  }
  const named = Object.fromEntries(names.map((name, index) => [name, positionals[index]]))
  return { command, ...none, ...named, options: values }
}

function isCommand (name: string): name is Command {
  return Object.hasOwn(commands, name)
}

/** Returns the options of the client from arguments and environment. Throws an error that says how to correct them. */
export async function readClientOptions (
  { bucket, options }: Arguments, env: Record<string, string | undefined>
): Promise<ClientOptions> {
  const url = options.url ?? env['COS_INVENTORY_URL']
  if (url === undefined) throw new Error('The URL of the service is missing. Set --url or COS_INVENTORY_URL.')
  if (!URL.canParse(url)) throw new Error('The URL of the service is not valid. Correct --url or COS_INVENTORY_URL.')
  const path = options['token-file'] ?? env['COS_INVENTORY_TOKEN_FILE']
  const token = options.token ?? (options['token-file'] === undefined ? env['COS_INVENTORY_TOKEN'] : undefined)
  return {
    url,
    bucket,
    region: options.region,
    token: token ?? (path === undefined ? undefined : (await readFile(path, 'utf8')).trim())
  }
}
