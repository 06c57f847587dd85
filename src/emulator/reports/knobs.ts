import { type Member, oneOf, wholeNumber } from '../members.ts'

/** A choice in how a report is made. */
interface Knob {
  /** All values, the default first. A knob with a range accepts further numbers. */
  readonly values: readonly [string | number | boolean, ...Array<string | number | boolean>]
  /** The least and the largest number. */
  readonly range?: readonly [number, number]
  readonly about: string
}

/**
 * All choices in how a report is written (`form`) and delivered (`delivery`). COS documents none of the points with
 * several values. Values that COS would not produce are there to test readers. `README.md` has the same table.
 */
export const reportKnobs = {
  form: {
    quotes: { values: ['all', 'needed', 'none'], about: 'values of the CSV in double quotes' },
    keys: { values: ['encoded', 'raw'], about: 'percent-encoding of Key; COS documents `encoded`' },
    slash: { values: ['/', '%2F'], about: 'a slash in Key' },
    blank: { values: ['%20', '+'], about: 'a blank in Key' },
    booleans: { values: ['true', 'True', 'TRUE'], about: 'the letter case of booleans' },
    dates: {
      values: ['iso-ms', 'iso', 'offset', 'local', 'seconds'],
      about: '`2026-11-20T02:41:07.000Z`, without milliseconds, `2026-11-20T10:41:07+08:00`, `2026-11-20 10:41:07`, epoch'
    },
    etag: { values: ['bare', 'quoted'], about: 'quotes that belong to ETag' },
    empty: { values: ['empty', 'null'], about: 'the text of a value that an object lacks' },
    tags: { values: ['query', 'json'], about: '`a=1&b=2` or a JSON object' },
    words: { values: ['given', 'title', 'lower'], about: '`STANDARD`, `Standard` or `standard`, also ReplicationStatus' },
    metaColumns: { values: ['each', 'one'], about: '`x-cos-meta-*`: a column for each header, or one with JSON' },
    versionColumns: { values: ['after-key', 'end'], about: 'place of VersionId, IsLatest and IsDeleteMarker' },
    deleteMarker: { values: ['IsDeleteMarker', 'DeleteMarker'], about: 'the name of the column' },
    columns: {
      values: ['documented', 'reordered', 'unknown', 'many'],
      about: 'the reverse order, an unknown column in the middle, or 200 unknown columns'
    },
    row: {
      values: ['whole', 'short', 'long', 'unclosed-quote', 'huge'],
      about: 'the middle row of each file: a column less, a column more, a quote that does not end, or 1 MiB'
    },
    lineEnds: { values: ['LF', 'CRLF'], about: 'the ends of lines' },
    lastLine: { values: ['closed', 'open'], about: '`open`: the last line has no end' },
    header: { values: [false, true], about: 'a first line with the names of the columns' },
    bom: { values: [false, true], about: 'a byte order mark before the CSV' },
    compression: {
      values: ['gzip', 'two-members', 'none', 'truncated', 'trailing-bytes', 'zero-padding', 'bomb'],
      about: 'two gzip members, no gzip, a gzip member that breaks off, has bytes or 4 MiB of zeros after it, or 128 MiB of rows of ' +
        '24 KiB that compress 500:1 or more'
    },
    rowsPerFile: {
      values: [1_000_000, 1], range: [1, 100_000_000], about: 'the most rows of a data file; COS does not publish it'
    },
    numbers: { values: ['strings', 'numbers'], about: 'numbers of the manifest; COS documents `strings`' },
    md5Member: { values: ['md5Checksum', 'MD5checksum'], about: 'the member with the MD5 of a file; COS documents both' },
    md5Case: { values: ['lower', 'upper'], about: 'the letter case of that MD5' },
    schema: { values: ['comma-blank', 'comma'], about: 'between the names in `fileSchema`; COS documents the first' },
    fileFormat: { values: ['CSV', 'ORC', 'Parquet'], about: 'the format in the manifest; the files are always CSV' },
    members: { values: ['documented', 'unknown'], about: '`unknown`: the manifest and its files have a further member' },
    manifest: {
      values: ['json', 'bom', 'not-json', 'empty', 'huge'],
      about: 'a byte order mark, text that is no JSON, no bytes, or 9 MiB of blanks at the end'
    },
    files: {
      values: ['all', 'none', '50001'],
      about: 'the files in the manifest; `50001` adds files that do not exist up to that number'
    },
    fileKeys: {
      values: ['inside', 'outside', 'dots'],
      about: 'keys in the manifest: in the folder of the report, in another, or with `..`; the objects stay inside'
    },
    counts: { values: ['right', 'wrong'], about: '`wrong`: filterObjectCount and filterStorageSize are one too large' },
    emptyReport: {
      values: ['no-files', 'empty-file', 'no-report'],
      about: 'a report without rows: a manifest without files, one empty file, or nothing at all'
    },
    checksum: {
      values: ['plain', 'upper', 'newline', 'missing', 'wrong', 'huge'],
      about: 'manifest.checksum: upper case, with a line feed, not written, another MD5, or 1 MiB of digits'
    },
    prefixSlash: {
      values: ['once', 'always'],
      about: 'the slash that COS appends to a destination prefix: only if there is none at its end, or always'
    }
  },
  delivery: {
    writes: {
      values: ['everything', 'nothing', 'files', 'manifest'],
      about: 'the delivery fails: before it writes anything, after the data files, or after the manifest'
    },
    file: {
      values: ['right', 'missing', 'truncated', 'longer', 'wrong-md5', 'archived', 'redirect'],
      about: 'the last data file: absent, 10 bytes shorter or 16 longer than the manifest says, with another MD5 in the ' +
        'manifest, archived, or at an origin (302)'
    },
    manifest: {
      values: ['right', 'missing', 'archived', 'redirect'], about: 'manifest.json: absent, archived, or at an origin (302)'
    },
    listLagMs: {
      values: [0, 60_000], range: [0, 86_400_000], about: 'milliseconds until LIST contains the objects; GET does at once'
    }
  }
} as const satisfies Record<string, Record<string, Knob>>

type ValueOf<K extends Knob> = K extends { readonly range: unknown } ? number : K['values'][number]
type Chosen<T extends Record<string, Knob>> = { [K in keyof T]: ValueOf<T[K]> }

/** How a report is written. */
export type ReportForm = Chosen<typeof reportKnobs.form>

/** How a report is delivered. */
export type ReportDelivery = Chosen<typeof reportKnobs.delivery>

/** Returns the chosen values, and the default of each other knob. */
export function withDefaults<T extends Record<string, Knob>> (knobs: T, chosen: Partial<Chosen<T>> = {}): Chosen<T> {
  const defaults = Object.entries(knobs).map(([name, { values }]) => [name, values[0]])
  return { ...Object.fromEntries(defaults), ...chosen }
}

/** Returns the rules for the members of a choice in JSON. */
export function toMembers (knobs: Record<string, Knob>): Record<string, Member> {
  return Object.fromEntries(Object.entries(knobs).map(([name, { values, range }]) =>
    [name, range === undefined ? oneOf(...values) : wholeNumber(...range)]))
}
