import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { createCallers } from '../../src/callers/callers.ts'
import { readConfig } from '../../src/config/config.ts'
import type { Config } from '../../src/config/config.ts'
import { fromFile, readText } from '../../src/cos/credentials/file.ts'
import { readTls } from '../../src/http/connections/tls.ts'
import { readTextFile } from '../../src/files/text-file.ts'
import { createAuthority } from '../certificates.ts'

interface Kind {
  name: string
  content: string
  read: (path: string) => unknown
  /** How messages name the file. */
  calls: RegExp
  /** Errors for an empty file and for a quoted content; undefined when it is accepted. */
  empty: RegExp
  quoted: RegExp | undefined
}

const key = 'keyOfTheExample'
const required = { AUTH: 'none', COS_SECRET_ID: 'AKIDexample' }
const { cert, key: privateKey } = await (await createAuthority()).issue('localhost')

const secretOf = (config: Config) => {
  const source = config.cos.accounts.read().get('default')
  return source?.source === 'env' && source.variables.read().secretKey.reveal()
}

t.test('operator files are read in every form or rejected with their name', async t => {
  const path = `${t.testdir()}/file`
  const certFile = `${t.testdirName}/cert`
  writeFileSync(certFile, cert)
  const kinds: Kind[] = [
    {
      name: 'callers file',
      content: '{\n  "callers": []\n}',
      read: async path =>
        (await createCallers({ read: () => readTextFile(path), tls: false })).unreachable().length === 0,
      calls: /^The configuration has 1 error:\n {2}- CALLERS_FILE/,
      empty: /CALLERS_FILE: the document is not JSON/,
      quoted: /CALLERS_FILE: /
    },
    {
      name: 'profile',
      content: `[default]\nsecret_id = AKIDexample\nsecret_key = ${key}`,
      read: async path => (await fromFile(path, Date.now)).credentials.secretKey.reveal() === key,
      calls: /^the credentials file/,
      empty: /neither JSON nor a profile/,
      quoted: /neither JSON nor a profile/
    },
    {
      name: 'JSON credentials',
      content: `{\n"SecretId": "AKIDexample",\n"SecretKey": "${key}"}`,
      read: async path => (await fromFile(path, Date.now)).credentials.secretKey.reveal() === key,
      calls: /^the credentials file/,
      empty: /neither JSON nor a profile/,
      quoted: /neither JSON nor a profile/
    },
    {
      name: 'private key',
      content: privateKey,
      read: path => readTls({ certFile, keyFile: path, clientCaFile: undefined }).requestCert === false,
      calls: /^The configuration has 1 error:\n {2}- TLS_KEY_FILE/,
      empty: /must contain unencrypted PEM/,
      quoted: /must contain unencrypted PEM/
    },
    {
      name: 'NAME_FILE',
      content: key,
      read: path => secretOf(readConfig({ ...required, COS_SECRET_KEY_FILE: path })) === key,
      calls: /^The configuration has 1 error:\n {2}- COS_SECRET_KEY/,
      empty: /COS_SECRET_KEY_FILE is empty/,
      quoted: undefined
    }
  ]
  for (const { name, content, read, calls, empty, quoted } of kinds) {
    const messageOf = async () => {
      try {
        return await read(path) === true ? 'read' : 'misread'
      } catch (error) {
        return (error as Error).message
      }
    }
    const forms: Array<[string, string | Buffer, RegExp | undefined]> = [
      ['as it is', content, undefined],
      ['byte order mark', `\uFEFF${content}`, undefined],
      ['CRLF', content.replaceAll('\n', '\r\n') + '\r\n', undefined],
      ['trailing line feeds', `${content}\n\n`, undefined],
      ['trailing blanks', `${content} \t `, undefined],
      ['quotation marks', `"${content}"\n`, quoted],
      ['UTF-16 little-endian', Buffer.from(`\uFEFF${content}`, 'utf16le'), /it is UTF-16; save it as UTF-8/],
      ['UTF-16 big-endian', Buffer.from(`\uFEFF${content}`, 'utf16le').swap16(), /it is UTF-16; save it as UTF-8/],
      ['UTF-16 without a mark', Buffer.from(content, 'utf16le'), /it is UTF-16; save it as UTF-8/],
      ['big-endian without a mark', Buffer.from(content, 'utf16le').swap16(), /it is UTF-16; save it as UTF-8/],
      ['empty', '', empty],
      ['blank', ' \r\n', empty]
    ]
    for (const [form, bytes, rejection] of forms) {
      writeFileSync(path, bytes)
      const message = await messageOf()
      if (rejection === undefined) t.equal(message, 'read', `${name}, ${form}`)
      else t.ok(calls.test(message) && rejection.test(message) && !message.includes(key), `${name}, ${form}: ${message}`)
    }
    rmSync(path)
    const missing = await messageOf()
    t.ok(calls.test(missing) && missing.includes('ENOENT'), `${name}, missing: ${missing}`)
    mkdirSync(path)
    const directory = await messageOf()
    t.ok(calls.test(directory) && directory.includes('not a file'), `${name}, directory: ${directory}`)
    rmSync(path, { recursive: true })
  }
  writeFileSync(path, `\uFEFF${key}\r\n`)
  t.equal(readText(path, 'the token file'), key)
  writeFileSync(path, 'x')
  t.equal(readTextFile(path), 'x', 'a file of one byte')
})

t.test('variables are read without surrounding quotes and blanks, or rejected by name', async t => {
  const read = (value: string) => secretOf(readConfig({ ...required, COS_SECRET_KEY: value }))
  for (const value of [key, ` ${key}\t`, `${key}\r`, `"${key}"`, `'${key}'`, ` "${key}" `]) {
    t.equal(read(value), key, JSON.stringify(value))
  }
  for (const value of [`"${key}`, `${key}'`, `'${key}"`, 'key OfTheExample', `"key"${key}`, '""', ' ']) {
    try {
      t.fail(`${JSON.stringify(value)} is read as ${read(value)}`)
    } catch (error) {
      const { message } = error as Error
      t.ok(/- COS_SECRET_KEY /.test(message) && !/OfTheExample/.test(message), `${JSON.stringify(value)}: ${message}`)
    }
  }
  const { port, auth, logLevel } = readConfig({
    ...required, AUTH: '"required"', COS_SECRET_KEY: key, PORT: '"80"', CALLERS_FILE: "'/c.json' ", LOG_LEVEL: 'warn '
  })
  t.strictSame({ port, auth, logLevel }, { port: 80, auth: { callersFile: '/c.json', jwt: undefined }, logLevel: 'warn' })
  t.throws(() => readConfig({ ...required, COS_SECRET_KEY: key, OTEL_EXPORTER_OTLP_ENDPOINT: '"http://collector:4318"' }),
    { message: /OTEL_EXPORTER_OTLP_ENDPOINT must have neither quotation marks nor blanks around it/ })
})
