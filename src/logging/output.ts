import { writeSync } from 'node:fs'

/** Lines beyond this are dropped. At 400 bytes each, the buffer takes 2,600. */
const maxBufferedBytes = 1024 * 1024

/** Changes are rejected beyond this, so that a reader that never comes back costs at most 160 audit lines. */
const maxBufferedAuditBytes = 64 * 1024

/** A pipe takes 64 KiB at a time, which allows 6 MiB a second. */
const retryMs = 10

/** A full disk or a closed pipe seldom changes within milliseconds. */
const retryAfterErrorMs = 1_000

const drainMs = 500

/** A descriptor that takes lines in order and never blocks the event loop. */
export interface Output {
  /** Writes a line at once, or buffers it when the reader is slow. Drops it when 1 MiB is buffered. */
  write (line: string): void
  /** Writes or buffers a line, however full the buffer is. */
  writeAudit (line: string): void
  /** Returns whether the last write succeeded and less than 64 KiB of audit lines are buffered. */
  takesAudit (): boolean
  /** Returns the number of lines dropped so far. */
  droppedLines (): number
  /**
   * Writes what is buffered, blocking for at most 500 ms. For a process that exits.
   *
   * @returns the audit lines that the reader did not take; the first may lack its beginning
   */
  drain (): string[]
}

interface BufferedLine {
  bytes: Buffer
  isAudit: boolean
}

/**
 * Creates an output. A pipe that nobody reads blocks the event loop unless its descriptor is in non-blocking mode.
 *
 * @param descriptor of a file, a pipe, a socket or a terminal, open for writing
 */
export function createOutput (descriptor: number): Output {
  let buffered: BufferedLine[] = []
  let bufferedBytes = 0
  let bufferedAuditBytes = 0
  let dropped = 0
  let hasFailed = false
  let timer: NodeJS.Timeout | undefined

  /** Returns how many bytes the descriptor took; after an error, 0. */
  function put (line: string | Buffer): number {
    try {
      const written = typeof line === 'string' ? writeSync(descriptor, line) : writeSync(descriptor, line)
      hasFailed = false
      return written
    } catch (error) {
      hasFailed = (error as NodeJS.ErrnoException).code !== 'EAGAIN'
      return 0
    }
  }

  function putLine (line: string, isAudit: boolean): void {
    const written = buffered.length === 0 ? put(line) : 0
    if (written === Buffer.byteLength(line)) return
    const bytes = Buffer.from(line).subarray(written)
    buffered.push({ bytes, isAudit })
    count({ bytes, isAudit }, bytes.length)
    retryLater()
  }

  function count ({ isAudit }: BufferedLine, bytes: number): void {
    bufferedBytes += bytes
    if (isAudit) bufferedAuditBytes += bytes
  }

  function putBuffered (): void {
    let taken = 0
    for (const line of buffered) {
      const written = put(line.bytes)
      count(line, -written)
      line.bytes = line.bytes.subarray(written)
      if (line.bytes.length > 0) break
      taken++
    }
    buffered = buffered.slice(taken)
  }

  function retryLater (): void {
    timer ??= setTimeout(() => {
      timer = undefined
      putBuffered()
      if (buffered.length > 0) retryLater()
    }, hasFailed ? retryAfterErrorMs : retryMs).unref()
  }

  return {
    write (line) {
      if (bufferedBytes < maxBufferedBytes) putLine(line, false)
      else dropped++
    },
    writeAudit (line) { putLine(line, true) },
    takesAudit: () => !hasFailed && bufferedAuditBytes < maxBufferedAuditBytes,
    droppedLines: () => dropped,
    drain () {
      const until = performance.now() + drainMs
      for (;;) {
        putBuffered()
        if (buffered.length === 0 || hasFailed || performance.now() > until) break
        pause(retryMs)
      }
      return buffered.filter(({ isAudit }) => isAudit).map(({ bytes }) => bytes.toString())
    }
  }
}

/** Blocks the thread: a process that exits runs no timer any more. */
function pause (ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
