import type { Variable } from './variable-types.ts'
import { sections } from './variables.ts'

const introduction = `# Configuration

<!-- \`npm run docs\` writes this file from the table in src/config. -->

The service reads environment variables once, at startup. An empty variable counts as not set.

- \`NAME_FILE\` is the path of a file that contains the value of \`NAME\`, for container secrets. Set only one of them.
- White space and paired quotation marks around a value are removed.
- Text files are UTF-8. A byte order mark and CRLF line ends are allowed.
- Files of accounts, callers, certificates and credentials are read again when they change, and on SIGHUP.
- A configuration error stops the start with exit code 1. One message on stderr names all errors and shows no secret.
- At startup the service warns about variables that have no effect, and about unknown ones whose names look like these.

The emulator has variables of its own, which begin with \`EMULATOR_\`. [emulator.md](emulator.md) lists them.
`

/** Returns the reference of all configuration variables in Markdown, as `docs/configuration.md` contains it. */
export function configurationReference (): string {
  return [introduction, ...sections.map(({ title, note, variables }) => [
    `## ${title}`,
    '',
    ...note === undefined ? [] : [note, ''],
    '| variable | type | default | description |',
    '| --- | --- | --- | --- |',
    ...Object.entries(variables).map(([name, variable]) => row(name, variable)),
    ''
  ].join('\n'))].join('\n')
}

function row (name: string, { type, unit, secret, default: fallback = '', description }: Variable): string {
  const typeText = [type.label, ...unit === undefined ? [] : [unit], ...secret ? ['secret'] : []].join('; ')
  return `| \`${name}\` | ${typeText} | ${fallback === '' ? '' : `\`${fallback}\` `}| ${description} |`
}
