/** Runs the service on an embedded COS emulator. It needs no configuration and no account, and stores nothing. */
import './inspector-off.ts'
import { pino } from 'pino'
import { readConfig } from './config/config.ts'
import { configurationExample } from './contract/inventory.ts'
import { deliverExampleReport, exampleBuckets, exampleCredential } from './emulator/examples.ts'
import { startEmulator } from './emulator/server.ts'
import { openOutputs } from './logging/log.ts'
import { startService } from './service.ts'

const { PORT, LOG_LEVEL } = process.env

async function main (): Promise<void> {
  const emulator = await startEmulator({ credentials: [exampleCredential], buckets: exampleBuckets })
  await deliverExampleReport(emulator)
  const config = readConfig({
    AUTH: 'none',
    PORT,
    LOG_LEVEL,
    COS_SECRET_ID: exampleCredential.secretId,
    COS_SECRET_KEY: exampleCredential.secretKey,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_REGION_DISCOVERY: 'true',
    REPORTS: 'true'
  })
  const outputs = await openOutputs()
  const service = await startService(config, pino({ level: config.logLevel }, outputs.stdout), outputs)
  const stop = (): void => {
    void service.stop().then(() => emulator.close())
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)

  const inventories = `${service.url}/buckets/examplebucket-1250000000/inventories`
  const reports = `${service.url}/buckets/logs-1250000000/inventories/all-objects/reports`
  const { Id: id, ...configuration } = configurationExample
  console.log(`
cos-inventory-proxy is at ${service.url}, its documentation at ${service.url}/docs
It talks to a COS emulator at ${emulator.address} that forgets everything when you stop it (Ctrl+C). Try:

curl -i -X PUT ${inventories}/${id} -H 'content-type: application/json' -d '${JSON.stringify(configuration)}'
curl -i ${inventories}/${id}
curl -i '${inventories}?all=true'

A bucket has a delivered report:

curl -i ${reports}/latest
curl -i '${reports}/latest/rows?limit=3'
`)
}

main().catch((error: unknown) => {
  const { code, message, port } = error as NodeJS.ErrnoException & { port?: number }
  console.error(code === 'EADDRINUSE' ? `Port ${port} is in use. Set PORT to another one.` : message)
  process.exit(1)
})
