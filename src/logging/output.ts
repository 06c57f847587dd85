import { writeSync } from 'node:fs'

/** Buffered bytes above which lines are dropped. At 400 bytes each, the buffer stores 2,600 lines. */
const maxBufferedBytes = 1024 * 1024

/**
 * Buffered bytes of audit lines above which changes are rejected. A reader that never returns costs at most 160 audit
 * lines.
 */
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

interface BufferedLine {
  bytes: Buffer
  isAudit: boolean
}

/**
 * Creates an output. If the descriptor is not in non-blocking mode, a pipe without a reader blocks the event loop.
 *
 * @param descriptor a file, a pipe, a socket or a terminal that is open for writing
 */
export function createOutput (descriptor: number): Output {
  let buffered: BufferedLine[] = []
  let bufferedBytes = 0
  let bufferedAuditBytes = 0
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

/** Blocks the thread, because a process that exits runs no timers. */
function pause (ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
