import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Report } from './finding.ts'

/**
 * Checks whether the audit log can be written. Creates no file.
 *
 * @param target `stdout`, `stderr` or the path of a file
 */
export function checkAuditLog (target: string, report: Report): void {
  if (target === 'stdout' || target === 'stderr') {
    report.ok(`Audit lines go to ${target}.`)
    return
  }
  try {
    // A file that does not exist is created in its folder.
    accessSync(existsSync(target) ? target : dirname(target), constants.W_OK)
    report.ok('The file of AUDIT_LOG can be written.')
  } catch (error) {
    report.error(`The file of AUDIT_LOG cannot be written: ${(error as NodeJS.ErrnoException).code}. ` +
      'Let the user of the service write it, or correct AUDIT_LOG.')
  }
}
