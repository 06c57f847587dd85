import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { endWithThisProcess } from '../child-guard.ts'
import { productionFlags } from '../production-flags.ts'
import type { Figures, Command } from './service-child.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service as a process. */
export interface MeasuredService {
  port: number
  /** Collects garbage and starts a measurement. */
  begin (): Promise<void>
  /**
   * Ends a measurement.
   *
   * @param isSettled whether to wait first until the process has nothing to do
   * @throws {Error} when the process ended
   */
  figures (isSettled: boolean): Promise<Figures>
  /** Whether the process ended, such as for lack of memory. */
  hasEnded (): boolean
}

const flags = ['--expose-gc', ...productionFlags, '--import', import.meta.resolve('tsx')]

/** Starts the service with only this environment. It is killed at the end of the test. */
export async function startMeasuredService (t: Test, environment: Record<string, string>): Promise<MeasuredService> {
  const child = fork(fileURLToPath(new URL('service-child.ts', import.meta.url)), {
    execArgv: flags,
    env: { ...environment, NODE_ENV: 'production', PATH: process.env['PATH'] },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc']
  })
  endWithThisProcess(child)
  let written = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { written += text })
  // A command to a process that is ending fails; the end is reported below.
  child.on('error', () => {})
  const ended = new Promise<void>(resolve => { child.once('exit', () => { resolve() }) })
  const hasEnded = () => !child.connected
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const message = async (): Promise<unknown> => {
    const waiting = new AbortController()
    const [received] = await Promise.race([
      once(child, 'message', { signal: waiting.signal }) as Promise<unknown[]>,
      ended.then(() => { throw new Error(`the service ended: ${written.slice(0, 2000)}`) })
    ]).finally(() => { waiting.abort() })
    return received
  }
  const request = async (command: Command): Promise<unknown> => {
    const reply = message()
    if (child.connected) child.send(command)
    return await reply
  }
  const url = new URL(await message() as string)
  return {
    port: Number(url.port),
    hasEnded,
    begin: async () => { await request('begin') },
    figures: async isSettled => await request(isSettled ? 'settled' : 'figures') as Figures
  }
}
