import { isIP } from 'node:net'
import type { EmulatorBucket } from './buckets.ts'
import { type EmulatorOptions, lenientSwitches, strictSwitches } from './emulator.ts'
import { exampleBuckets, exampleCredential } from './examples.ts'
import { isBucketName, isRegionName } from './host.ts'
import type { EmulatorCredential } from './verify-signature.ts'

/**
 * Returns the options that the environment names, or all configuration errors. Messages contain no value, because
 * EMULATOR_KEYS is secret.
 */
export function readConfiguration (
  environment: Partial<Record<string, string>>
): { options: EmulatorOptions } | { errors: string[] } {
  const errors: string[] = []
  const value = (name: string) => environment[name] || undefined
  const stateFile = value('EMULATOR_STATE_FILE')
  const options: EmulatorOptions = {
    host: value('EMULATOR_HOST') ?? '127.0.0.1',
    port: readPort(value('EMULATOR_PORT') ?? '9000', errors),
    credentials: readKeys(value('EMULATOR_KEYS'), errors),
    buckets: readBuckets(value('EMULATOR_BUCKETS'), errors),
    ...(stateFile !== undefined && { stateFile })
  }
  options.lenient = readSwitches('EMULATOR_LENIENT', value('EMULATOR_LENIENT'), lenientSwitches, errors)
  options.strict = readSwitches('EMULATOR_STRICT', value('EMULATOR_STRICT'), strictSwitches, errors)
  const allowedHosts = readAllowedHosts(value('EMULATOR_ALLOWED_HOSTS'), errors)
  if (allowedHosts !== undefined) options.allowedHosts = allowedHosts
  return errors.length > 0 ? { errors } : { options }
}

function readPort (value: string, errors: string[]): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : -1
  if (port < 0 || port > 65535) errors.push('EMULATOR_PORT must be a port, 0 to 65535')
  return port
}

function readKeys (value: string | undefined, errors: string[]): EmulatorCredential[] {
  if (value === undefined) return [exampleCredential]
  return value.split(',').map((entry, index) => {
    const [, appId, pair] = /^(?:([0-9]+)\/)?(.*)$/s.exec(entry) as unknown as [string, string | undefined, string]
    const [secretId = '', secretKey = '', ...rest] = pair.split(':')
    const token = rest.length > 0 ? rest.join(':') : undefined
    if (!/^\w+$/.test(secretId) || !/^\S+$/.test(secretKey) || !/^\S+$/.test(token ?? 'none')) {
      errors.push(`EMULATOR_KEYS: entry ${index + 1} must be secretId:secretKey or secretId:secretKey:token, with appid/ in front or without`)
    }
    return { secretId, secretKey, ...(token !== undefined && { token }), ...(appId !== undefined && { appId }) }
  })
}

function readBuckets (value: string | undefined, errors: string[]): EmulatorBucket[] {
  if (value === undefined) return exampleBuckets
  return value.split(',').map((entry, index) => {
    const [name = '', region = ''] = entry.trim().split('=')
    if (!isBucketName(name) || !isRegionName(region)) {
      errors.push(`EMULATOR_BUCKETS: entry ${index + 1} must be bucket-appid=region`)
    }
    return { name, region }
  })
}

function readSwitches<T extends string> (
  name: string, value: string | undefined, known: readonly T[], errors: string[]
): T[] {
  const entries = value?.split(',') ?? []
  return entries.flatMap((entry, index) => {
    const found = known.find(each => each === entry.trim())
    if (found !== undefined) return [found]
    errors.push(`${name}: entry ${index + 1} must be one of ${known.join(', ')}`)
    return []
  })
}

function readAllowedHosts (value: string | undefined, errors: string[]): string[] | undefined {
  return value?.split(',').map((entry, index) => {
    const name = entry.trim()
    if (isIP(name) === 0 && !/^[\w-]+(\.[\w-]+)*$/.test(name)) {
      errors.push(`EMULATOR_ALLOWED_HOSTS: entry ${index + 1} must be a host name or IP address without port`)
    }
    return name
  })
}
