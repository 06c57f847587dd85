import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Configuration, ConfigurationInput, DesiredSet, InventoryClient, SetOutcome, SetProgress } from '../types.ts'
import type { Arguments, Command } from './arguments.ts'
import type { Line, Output } from './output.ts'

/** Client, arguments and streams of a command. */
export interface Context {
  client: InventoryClient
  args: Arguments
  stdin: AsyncIterable<Uint8Array>
  output: Output
  /** Writes a line for people. */
  note (text: string): void
}

/** The commands. Each returns the exit code. */
export const commands: Record<Command, (context: Context) => Promise<number>> = {
  async list ({ client, args, output }) {
    const all = await listed(client.list())
    if (args.options.json === true) await output.printJson(all, 2)
    else await output.printTable([{ cells: listHeader, style: 'bold' }, ...all.map(listLine)])
    return 0
  },

  async get ({ client, args, output }) {
    await output.printJson((await client.get(args.id)).configuration, 2)
    return 0
  },

  async put ({ client, args, stdin, output, note }) {
    const { preflight, 'allow-unknown': allowUnknown } = args.options
    const body = await readBody(args.file, stdin) as ConfigurationInput
    const { etag, warnings } = await client.put(args.id, body, { allowUnknown, preflight: preflight as 'warn' | undefined })
    for (const { code, pointer, detail } of warnings) note(`warning: ${pointer} ${code}: ${detail}`)
    if (args.options.json === true) await output.printJson({ Id: args.id, ETag: etag, Warnings: warnings })
    else await output.print(`Stored ${args.id}\n`)
    return 0
  },

  async delete ({ client, args, output }) {
    await client.delete(args.id)
    if (args.options.json === true) await output.printJson({ Id: args.id })
    else await output.print(`Deleted ${args.id}\n`)
    return 0
  },

  async export ({ client, output }) {
    await output.printJson({ InventoryConfigurations: await listed(client.list()) }, 2)
    return 0
  },

  async plan ({ client, args, stdin, output, note }) {
    const outcome = await client.plan(await readBody(args.file, stdin) as DesiredSet, setOptions(args))
    if (args.options.json === true) await output.printJson(outcome, 2)
    else await output.printTable([{ cells: ['ACTION', 'ID', 'CHANGE'], style: 'bold' }, ...planLines(outcome)])
    const { Created: { length: created }, Updated: { length: updated }, Deleted: { length: deleted } } = outcome
    note(`${created} to create, ${updated} to update, ${deleted} to delete, ${outcome.Unchanged.length} unchanged, ` +
      `${outcome.Unmanaged.length} not in the set`)
    return created + updated + deleted > 0 ? 2 : 0
  },

  async apply ({ client, args, stdin, output, note }) {
    const set = await readBody(args.file, stdin) as DesiredSet
    if (args.options.json === true) {
      const outcome = await client.apply(set, setOptions(args))
      await output.printJson(outcome, 2)
      return outcome.Failed.length > 0 ? 1 : 0
    }
    const counts: Partial<Record<SetProgress['Outcome'], number>> = {}
    for await (const progress of client.applying(set, setOptions(args))) {
      counts[progress.Outcome] = (counts[progress.Outcome] ?? 0) + 1
      await output.printLine(progressLine(progress), [9, 0, 0])
    }
    note(Object.entries(counts).map(([outcome, count]) => `${count} ${outcome.toLowerCase()}`).join(', ') || 'The set is empty')
    return counts.Failed === undefined ? 0 : 1
  },

  async reports ({ client, args, output, note }) {
    const { from, to } = args.options
    const list = await client.reports(args.id, { ...placeOf(args), from, to })
    if (args.options.json === true) await output.printJson(list, 2)
    else {
      await output.printTable([{ cells: ['DATE', 'DELIVERED', 'COMPLETE', 'STALE'], style: 'bold' }, ...list.Reports.map(report => ({
        cells: [report.Date, report.DeliveredAt, yesNo(report.IsComplete), yesNo(report.Stale)],
        style: report.Stale === true ? 'yellow' as const : undefined
      }))])
    }
    if (list.IsTruncated) note('There are older reports. Use --from, --to or --limit.')
    return 0
  },

  async rows ({ client, args, output }) {
    const { date, fields, 'key-prefix': keyPrefix } = args.options
    const file = numberOf(args, 'file')
    const rows = client.rows(args.id, { ...placeOf(args), date, fields: fields?.split(','), keyPrefix, file })
    if (args.options.json === true) for await (const row of rows) await output.printJson(row)
    else await output.printTable(rowLines(rows))
    return 0
  }
}

async function listed (configurations: AsyncIterable<Configuration>): Promise<Configuration[]> {
  const all: Configuration[] = []
  for await (const each of configurations) all.push(each)
  return all
}

async function readBody (path: string, stdin: AsyncIterable<Uint8Array>): Promise<unknown> {
  const json = path === '-' ? await text(stdin as never) : await readFile(path, 'utf8')
  try {
    return JSON.parse(json)
  } catch (error) {
    throw new Error(`${path === '-' ? 'Standard input' : path} is not JSON: ${(error as Error).message}`)
  }
}

function numberOf ({ options }: Arguments, name: 'limit' | 'file'): number | undefined {
  const value = options[name]
  if (value !== undefined && !/^\d+$/.test(value)) throw new Error(`--${name} must be a number, such as --${name} 10.`)
  return value === undefined ? undefined : Number(value)
}

function placeOf (args: Arguments) {
  const { destination, prefix } = args.options
  return { destination, prefix, limit: numberOf(args, 'limit') }
}

function setOptions ({ options: { prune, 'allow-unknown': allowUnknown } }: Arguments) {
  return { prune, allowUnknown }
}

const yesNo = (value: boolean | undefined) => value === undefined ? '-' : value ? 'yes' : 'no'

const listHeader = ['ID', 'ENABLED', 'SCHEDULE', 'VERSIONS', 'DESTINATION', 'FILTER']

function listLine ({ Id, IsEnabled, Schedule, IncludedObjectVersions, Destination, Filter }: Configuration): Line {
  const { Bucket, Prefix } = Destination.COSBucketDestination
  const schedule = Schedule.MonthlyDate === undefined ? Schedule.Frequency : `${Schedule.Frequency} ${Schedule.MonthlyDate}`
  const destination = [Bucket.replace(/^.*::/, ''), ...Prefix === undefined ? [] : [Prefix]].join('/')
  return {
    cells: [Id, yesNo(IsEnabled), schedule, IncludedObjectVersions, destination, Filter === undefined ? '-' : JSON.stringify(Filter)],
    style: IsEnabled ? undefined : 'dim'
  }
}

function planLines ({ Created, Updated, Deleted }: SetOutcome): Line[] {
  return [
    ...Created.map(id => ({ cells: ['create', id, ''], style: 'green' as const })),
    ...Updated.flatMap(({ Id, Changes }) => Changes.map(change => ({ cells: ['update', Id, changeText(change)], style: 'yellow' as const }))),
    ...Deleted.map(id => ({ cells: ['delete', id, ''], style: 'red' as const }))
  ]
}

function changeText ({ pointer, from, to }: { pointer: string, from?: unknown, to?: unknown }): string {
  const [before, after] = [from, to].map(value => value === undefined ? 'nothing' : JSON.stringify(value))
  return `${pointer}: ${before} to ${after}`
}

const outcomeStyles = { Created: 'green', Updated: 'yellow', Deleted: 'red', Unchanged: 'dim', Unmanaged: 'dim', Failed: 'red' } as const

function progressLine ({ Outcome, Id, problem }: SetProgress): Line {
  const detail = problem === undefined ? [] : [`${problem.code}: ${problem.detail}`]
  return { cells: [Outcome, Id, ...detail], style: outcomeStyles[Outcome] }
}

/** A row has this column only if its key is ambiguous; `--json` has it. */
const rareColumn = 'EncodedKey'

async function * rowLines (rows: AsyncIterable<Record<string, unknown>>): AsyncGenerator<Line, void> {
  let names: string[] | undefined
  for await (const row of rows) {
    if (names === undefined) {
      names = Object.keys(row).filter(name => name !== rareColumn)
      yield { cells: names, style: 'bold' }
    }
    yield { cells: names.map(name => String(row[name] ?? '')) }
  }
}
