import './inspector-off.ts'
import { readConfiguration } from './configuration.ts'
import { exampleCredential } from './examples.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from './server.ts'

const configuration = readConfiguration(process.env)
if ('errors' in configuration) {
  console.error(`The emulator cannot start:\n${configuration.errors.map(error => `- ${error}`).join('\n')}`)
  process.exit(1)
}

const emulator = await start(configuration.options)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => { void emulator.close() })
}
console.log(describe(emulator, configuration.options))

async function start (options: EmulatorOptions): Promise<Emulator> {
  try {
    return await startEmulator(options)
  } catch (error) {
    console.error(`The emulator cannot start: ${(error as Error).message}`)
    process.exit(1)
  }
}

function describe ({ address }: Emulator, { credentials, buckets }: EmulatorOptions): string {
  const usesExample = credentials.includes(exampleCredential)
  return [
    `COS inventory emulator on http://${address}`,
    `Buckets: ${buckets.map(({ name, region }) => `${name} (${region})`).join(', ')}`,
    usesExample
      ? `Key (an example, worth nothing): ${exampleCredential.secretId} ${exampleCredential.secretKey}`
      : `Keys: ${credentials.length}, from EMULATOR_KEYS`,
    `An SDK: plain HTTP, connect to ${address}, keep the Host of the bucket; with cos-nodejs-sdk-v5:`,
    `  new COS({ SecretId, SecretKey, Protocol: 'http:', Ip: '${address}' })`,
    `The proxy: COS_SCHEME=http COS_CONNECT_TO=${address}`
  ].join('\n')
}
