import { writeSync } from 'node:fs'

/** Buffered bytes above which lines are dropped. At 400 bytes each, the buffer stores 2,600 lines. */
const maxBufferedBytes = 1024 * 1024

/** Changes are rejected beyond this, so that at most 160 audit lines are lost when the reader never returns. */
const maxBufferedAuditBytes = 64 * 1024

/** A pipe accepts 64 KiB at a time, which allows 6 MiB a second. */
const retryMs = 10

/** A full disk or a closed pipe rarely recovers within milliseconds. */
const retryAfterErrorMs = 1_000

const drainMs = 500

/** An output that writes lines in order and never blocks the event loop. */
export interface Output {
  /** Writes a line at once, or buffers it when the reader is slow. Drops it when 1 MiB is buffered. */
  write (line: string): void
  /** Writes or buffers a line, regardless of how much is buffered. */
  writeAudit (line: string): void
  /** Returns whether the last write succeeded and less than 64 KiB of audit lines are buffered. */
  takesAudit (): boolean
  /** Returns the number of lines dropped so far. */
  droppedLines (): number
  /**
   * Writes buffered lines before the process exits. Blocks for at most 500 ms.
   *
   * @returns the audit lines that the reader did not accept; the first may lack its beginning
   */
  drain (): string[]
}

/** The lines that the descriptor has not taken yet, in order. */
class LineBuffer {
  bytes = 0
  auditBytes = 0
  #lines: Array<{ rest: Buffer, isAudit: boolean }> = []

  get isEmpty (): boolean {
    return this.#lines.length === 0
  }

  push (rest: Buffer, isAudit: boolean): void {
    this.#lines.push({ rest, isAudit })
    this.#count(isAudit, rest.length)
  }

  /** Writes lines until one is not taken completely. `put` returns how many bytes were taken. */
  flush (put: (bytes: Buffer) => number): void {
    let taken = 0
    for (const line of this.#lines) {
      const written = put(line.rest)
      this.#count(line.isAudit, -written)
      line.rest = line.rest.subarray(written)
      if (line.rest.length > 0) break
      taken++
    }
    this.#lines = this.#lines.slice(taken)
  }

  auditLines (): string[] {
    return this.#lines.filter(({ isAudit }) => isAudit).map(({ rest }) => rest.toString())
  }

  #count (isAudit: boolean, bytes: number): void {
    this.bytes += bytes
    if (isAudit) this.auditBytes += bytes
  }
}

/**
 * Creates an output. A pipe without a reader blocks the event loop unless its descriptor is in non-blocking mode.
 *
 * @param descriptor a file, a pipe, a socket or a terminal that is open for writing
 */
export function createOutput (descriptor: number): Output {
  const buffer = new LineBuffer()
  let dropped = 0
  let hasFailed = false
  let timer: NodeJS.Timeout | undefined

  /** Returns how many bytes the descriptor accepted; 0 after an error. */
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
    const written = buffer.isEmpty ? put(line) : 0
    if (written === Buffer.byteLength(line)) return
    buffer.push(Buffer.from(line).subarray(written), isAudit)
    retryLater()
  }

  function retryLater (): void {
    timer ??= setTimeout(() => {
      timer = undefined
      buffer.flush(put)
      if (!buffer.isEmpty) retryLater()
    }, hasFailed ? retryAfterErrorMs : retryMs).unref()
  }

  return {
    write (line) {
      if (buffer.bytes < maxBufferedBytes) putLine(line, false)
      else dropped++
    },
    writeAudit (line) { putLine(line, true) },
    takesAudit: () => !hasFailed && buffer.auditBytes < maxBufferedAuditBytes,
    droppedLines: () => dropped,
    drain () {
      const until = performance.now() + drainMs
      for (;;) {
        buffer.flush(put)
        if (buffer.isEmpty || hasFailed || performance.now() > until) break
        pause(retryMs)
      }
      return buffer.auditLines()
    }
  }
}

/** Blocks the thread, because a process that exits runs no timers. */
function pause (ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
