import { fileURLToPath } from 'node:url'
import t from 'tap'
import { bucket, secrets, startTestEmulator } from '../start.ts'
import { builtPackage, startNode } from './program.ts'

const check = fileURLToPath(new URL('dist/check.js', builtPackage))

t.test('check exits with 0 without an error, 1 with one, and 2 for wrong arguments', async t => {
  const emulator = await startTestEmulator(t)
  const environment = {
    AUTH: 'none',
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_REGION: 'ap-guangzhou',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token
  }
  const run = async (...args: string[]) => {
    const program = startNode(t, [check, ...args], environment)
    return { code: await program.exit, stdout: program.stdout(), stderr: program.stderr() }
  }
  const usage = /^Usage: npm run check -- \[--bucket <name-appid> \[--region <region>\]\]\n$/
  const [good, bad, ...wrong] = await Promise.all([
    run('--bucket', bucket), run('--bucket', bucket, '--region', 'ap-shanghai'),
    run('--bucket', 'noappid'), run('--region', 'ap-shanghai'), run(bucket)
  ])
  t.match(good, { code: 0, stdout: /^warning .* AUTH=none.*\nok [^]*\nok {6}credentials .*\nok {6}clock .*\nok {6}redis .*\n$/, stderr: /^$/ })
  t.match(bad, { code: 1, stdout: /^error {3}credentials {3}There is no bucket .* in ap-shanghai\./m, stderr: /^$/ })
  for (const each of wrong) t.match(each, { code: 2, stdout: /^$/, stderr: usage })
})
