import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { endWithThisProcess } from './child-guard.ts'
import { freePort } from './free-port.ts'
import { secret } from './secrets.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A real Redis with a password on a free port. */
export interface RedisServer {
  url: string
  /** Kills the process, as in a crash. */
  kill (): Promise<void>
  /** Suspends the process while connections stay open; `SIGCONT` resumes it. */
  signal (name: 'SIGSTOP' | 'SIGCONT'): void
  /** Starts Redis again on the same port, without data. */
  startAgain (): Promise<void>
  /** Sends a command as a user with all permissions, over a new connection. */
  command (name: string, ...args: string[]): Promise<unknown>
}

export async function startRedis (t: Test, options: string[] = []): Promise<RedisServer> {
  const password = secret('redisPasswordOfTheTests')
  const port = await freePort()
  const launch = async () => {
    const child = spawn('redis-server', [
      '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--requirepass', password,
      '--user', 'admin', 'on', `>${password}`, '~*', '+@all', ...options
    ], { stdio: ['ignore', 'pipe', 'inherit'] })
    endWithThisProcess(child)
    for await (const line of createInterface(child.stdout)) if (line.includes('Ready to accept')) break
    child.stdout.resume()
    return child
  }
  let server = await launch()
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const end = once(server, 'exit')
    server.kill('SIGKILL')
    await end
  }
  t.teardown(kill)
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    kill,
    signal: name => { server.kill(name) },
    async startAgain () { server = await launch() },
    async command (name, ...args) {
      const redis = new Redis(`redis://admin:${password}@127.0.0.1:${port}`)
      try {
        return await redis.call(name, ...args)
      } finally {
        redis.disconnect()
      }
    }
  }
}
