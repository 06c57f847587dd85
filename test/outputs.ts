import type { Outputs } from '../src/logging/log.ts'

/** Returns outputs that send all lines to `write` and accept every audit line. */
export function outputsTo (write: (line: string) => void): Outputs {
  const output = { write, writeAudit: write, takesAudit: () => true, droppedLines: () => 0, drain: () => [] }
  return { stdout: output, stderr: output }
}
