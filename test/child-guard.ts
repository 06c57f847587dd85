import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'

interface GuardOptions {
  /** Whether to end the process group of the child. The child must lead it, as with `detached`. */
  isGroup?: boolean
  signal?: 'SIGKILL' | 'SIGTERM'
}

/**
 * Ends a child when this process ends. This includes SIGKILL, after which no handler runs. When a test file times out,
 * its teardown does not run either.
 */
export function endWithThisProcess (child: ChildProcess, options: GuardOptions = {}): void {
  const { pid } = child
  // The child failed to start.
  if (pid === undefined) return
  guard(pid, once(child, 'exit'), options)
}

/**
 * Ends a process when this process ends, as {@link endWithThisProcess} does.
 *
 * @param ended settles when the process has ended, because another process may reuse its id
 */
export function guard (
  pid: number, ended: Promise<unknown>, { isGroup = false, signal = 'SIGKILL' }: GuardOptions = {}
): void {
  // The read ends when this process ends, because that closes the pipe.
  const script = 'read -r _; kill -s "$1" -- "$2"'
  const shell = spawn('sh', ['-c', script, 'sh', signal.slice('SIG'.length), String(isGroup ? -pid : pid)], {
    // Ctrl+C ends the process group of this process. The guard must not end before the child.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore']
  })
  shell.unref();
  (shell.stdin as Socket).on('error', () => {}).unref()
  const stop = () => { shell.kill('SIGKILL') }
  ended.then(stop, stop)
}
