import { accessSync, constants, statSync } from 'node:fs'
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
    const stats = statSync(target, { throwIfNoEntry: false })
    if (stats?.isDirectory() === true) throw Object.assign(new Error('a folder'), { code: 'EISDIR' })
    // A file that does not exist is created in its folder.
    if (stats === undefined) accessSync(dirname(target), constants.W_OK | constants.X_OK)
    else accessSync(target, constants.W_OK)
    report.ok('The file of AUDIT_LOG can be written.')
  } catch (error) {
    report.error(`The file of AUDIT_LOG cannot be written: ${(error as NodeJS.ErrnoException).code}. ` +
      'Let the user of the service write it, or correct AUDIT_LOG.')
  }
}
