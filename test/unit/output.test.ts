import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import t from 'tap'
import { openTerminal } from '../../src/logging/log.ts'
import { createOutput } from '../../src/logging/output.ts'
import type { Output } from '../../src/logging/output.ts'
import { until } from '../start.ts'

interface Test {
  testdir (): string
  teardown (handler: () => unknown): void
}
interface Pipe {
  output: Output
  /** Returns the available content of the pipe. */
  read (): string
  /** Closes the only reader. */
  close (): void
  /** Opens a reader again. */
  reopen (): void
}

const pipeBytes = 64 * 1024

t.test('lines arrive complete and in order when the reader is slow', async t => {
  const { output, read } = openPipe(t)
  const lines = Array.from({ length: 2_000 }, (_, index) => `${index} ${'a'.repeat(50)}\n`)
  for (const line of lines) output.write(line)
  let text = ''
  await until(() => {
    text += read()
    return text.length >= lines.join('').length
  })
  t.ok(text === lines.join(''), 'every line, once, in order')
  t.equal(output.droppedLines(), 0)
})

t.test('line arrives complete when the pipe accepts only a part of it', t => {
  const { output, read } = openPipe(t)
  const line = `${'a'.repeat(pipeBytes)}${'b'.repeat(1000)}\n`
  output.write(line)
  const first = read()
  t.equal(first.length, pipeBytes)
  output.drain()
  t.ok(first + read() === line)
  t.end()
})

t.test('write drops lines and counts them when 1 MiB is buffered', async t => {
  const { output, read } = openPipe(t)
  const line = `${'a'.repeat(1023)}\n`
  for (let written = 0; written < 64 + 1024 + 5; written++) output.write(line)
  t.equal(output.droppedLines(), 5)
  output.writeAudit('audit\n')
  let text = ''
  await until(() => {
    text += read()
    return text.endsWith('audit\n')
  })
  t.equal(text.length, (64 + 1024) * 1024 + 'audit\n'.length)
  t.equal(output.droppedLines(), 5, 'an audit line is not dropped')
})

t.test('takesAudit returns false from 64 KiB of audit lines until they are read', async t => {
  const { output, read } = openPipe(t)
  const line = `${'a'.repeat(1023)}\n`
  for (let written = 0; written < 200; written++) output.write(line)
  t.equal(output.takesAudit(), true, 'other lines do not count')
  for (let written = 0; written < 64; written++) {
    t.equal(output.takesAudit(), true)
    output.writeAudit(line)
  }
  t.equal(output.takesAudit(), false)
  await until(() => {
    read()
    return output.takesAudit()
  })
  t.equal(output.droppedLines(), 0)
})

t.test('takesAudit returns false while the pipe has no reader', async t => {
  const { output, read, close, reopen } = openPipe(t)
  output.writeAudit('1\n')
  t.equal(output.takesAudit(), true)
  close()
  output.writeAudit('2\n')
  output.write('3\n')
  t.equal(output.takesAudit(), false)
  t.strictSame(output.drain(), ['2\n'], 'drain returns the audit lines')
  reopen()
  await until(() => output.takesAudit())
  t.equal(read(), '1\n2\n3\n')
})

t.test('takesAudit returns false when the disk is full', t => {
  const output = createOutput(openSync('/dev/full', 'w'))
  t.equal(output.takesAudit(), true)
  output.write('1\n')
  t.equal(output.takesAudit(), false)
  t.strictSame(output.drain(), [])
  t.end()
})

t.test('drain returns the unwritten audit lines when the pipe is not read', t => {
  const { output } = openPipe(t)
  output.write('a'.repeat(pipeBytes))
  output.write('lost\n')
  output.writeAudit('audit\n')
  t.strictSame(output.drain(), ['audit\n'])
  t.end()
})

/** Opens a pipe in non-blocking mode, as `log.ts` opens stdout. */
function openPipe (t: Test): Pipe {
  const path = `${t.testdir()}/pipe`
  execFileSync('mkfifo', [path])
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants
  const openReader = () => openSync(path, O_RDONLY | O_NONBLOCK)
  let reader = openReader()
  const writer = openSync(path, O_WRONLY | O_NONBLOCK)
  // The writer stays open. Otherwise a later descriptor with its number would receive the buffered lines.
  t.teardown(() => { closeSync(reader) })
  const bytes = Buffer.alloc(pipeBytes)
  return {
    output: createOutput(writer),
    read () {
      try {
        return bytes.toString('latin1', 0, readSync(reader, bytes))
      } catch {
        return ''
      }
    },
    close () { closeSync(reader) },
    reopen () { reader = openReader() }
  }
}

t.test('openTerminal returns its descriptor when the terminal cannot be reopened', async t => {
  t.equal(openTerminal(9_999), 9_999)
})
