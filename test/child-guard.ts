import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'

interface GuardOptions {
  /** Ends the whole process group of the child. The child must lead one, as `detached` makes it. */
  isGroup?: boolean
  signal?: 'SIGKILL' | 'SIGTERM'
}

/**
 * Ends a child when this process ends, also when SIGKILL ends it and no handler runs. Teardown alone does not end the
 * children of a test file that timed out.
 */
export function endWithThisProcess (child: ChildProcess, options: GuardOptions = {}): void {
  const { pid } = child
  // The child could not be started.
  if (pid === undefined) return
  guard(pid, once(child, 'exit'), options)
}

/**
 * Ends a process when this process ends, as {@link endWithThisProcess} does.
 *
 * @param ended settles when the process has ended, after which its id may belong to another one
 */
export function guard (
  pid: number, ended: Promise<unknown>, { isGroup = false, signal = 'SIGKILL' }: GuardOptions = {}
): void {
  // The shell reads until this process is gone, and its end of the pipe with it.
  const script = 'read -r _; kill -s "$1" -- "$2"'
  const shell = spawn('sh', ['-c', script, 'sh', signal.slice('SIG'.length), String(isGroup ? -pid : pid)], {
    // Ctrl+C ends the group of this process, and must not end the guard first.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore']
  })
  shell.unref();
  (shell.stdin as Socket).on('error', () => {}).unref()
  const stop = () => { shell.kill('SIGKILL') }
  ended.then(stop, stop)
}
