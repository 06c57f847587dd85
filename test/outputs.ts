import type { Outputs } from '../src/logging/log.ts'

/** Outputs of a service in this process: all lines go to `write`, which takes every one. */
export function outputsTo (write: (line: string) => void): Outputs {
  const output = { write, writeAudit: write, takesAudit: () => true, droppedLines: () => 0, drain: () => [] }
  return { stdout: output, stderr: output }
}
