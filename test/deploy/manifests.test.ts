import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { readConfig } from '../../src/config/config.ts'
import type { Config } from '../../src/config/config.ts'
import { typeErrors } from './kubernetes-types.ts'
import type { KubernetesDocument } from './kubernetes-types.ts'
import { temporaryFolder } from './nginx.ts'
import { pathOf, read } from './tools.ts'

/** The variables in the first column of the configuration reference. */
const configurable = new Set(
  read('docs/configuration.md')
    .split('\n')
    .flatMap(line => [.../^\| (`[^|]+`) \|/.exec(line)?.[1]?.matchAll(/`([A-Z_]+)`/g) ?? []].map(([, name = '']) => name)))

/** Returns the names that are neither a variable of the reference nor the file form of one. */
const unknown = (names: string[]) => names.filter(name => !configurable.has(name) && !configurable.has(name.replace(/_FILE$/, '')))

/** Returns whether a platform waits long enough for a graceful shutdown, with two seconds to spare. */
const waitsFor = ({ shutdownDelayMs, shutdownGraceMs }: Config, seconds: number) =>
  seconds * 1000 >= shutdownDelayMs + shutdownGraceMs + 2000

test('variables of the configuration reference are parsed', async t => {
  t.ok(configurable.size > 40)
  t.strictSame(unknown(['PORT', 'COS_SECRET_KEY_FILE', 'CALLERS_FILE', 'COS_SECRETKEY', 'FILE']), ['COS_SECRETKEY', 'FILE'])
})

interface Pod {
  metadata: { labels: Record<string, string>, annotations: Record<string, string> }
  spec: {
    automountServiceAccountToken: boolean
    serviceAccountName: string
    terminationGracePeriodSeconds: number
    securityContext: unknown
    containers: Container[]
    volumes: Array<{ name: string, secret: { secretName: string } }>
    dnsConfig: { options: Array<{ name: string, value: string }> }
    topologySpreadConstraints: Array<{ labelSelector: { matchLabels: Record<string, string> } }>
  }
}

interface Container {
  image: string
  env: Array<{ name: string, value: string }>
  ports: Array<{ name: string, containerPort: number }>
  securityContext: unknown
  resources: { requests: { memory: string }, limits: { memory: string } }
  volumeMounts: Array<{ name: string, mountPath: string, readOnly: boolean, subPath?: string }>
  startupProbe: Probe
  livenessProbe: Probe
  readinessProbe: Probe
}

interface Probe { httpGet: { path: string, port: string } }

interface Egress { to: unknown[], ports: unknown[] }

/** Returns the keys of each secret that the `kubectl create secret` commands of a file create. */
function secretsOf (path: string): Map<string, string[]> {
  const text = read(path).replace(/^# */gm, '').replaceAll('\\\n', ' ')
  return new Map([...text.matchAll(/^kubectl create secret generic (\S+)(.*)$/gm)].map(([, name = '', options = '']) =>
    [name, [...options.matchAll(/--from-file=(\S+)/g)].map(([, key = '']) => key)]))
}

test('deploy/kubernetes.yaml', async t => {
  const parsed = parseAllDocuments(read('deploy/kubernetes.yaml'))
  t.strictSame(parsed.flatMap(({ errors }) => errors), [])
  const documents = parsed.map(document => document.toJS() as KubernetesDocument)
  const all = <T>(kind: string) => documents.filter(document => document.kind === kind) as unknown as T[]
  const one = <T>(kind: string) => {
    const [found, ...others] = all<T>(kind)
    if (found === undefined || others.length > 0) throw new Error(`not one ${kind}`)
    return found
  }
  const deployment = one<{
    metadata: { name: string }
    spec: { strategy: unknown, selector: { matchLabels: Record<string, string> }, template: Pod }
  }>('Deployment')
  const pod = deployment.spec.template
  const [container] = pod.spec.containers as [Container]
  const secrets = secretsOf('deploy/kubernetes.yaml')
  const environment = Object.fromEntries(container.env.map(({ name, value }) => [name, value]))

  t.test('manifest has kinds, names and types that Kubernetes defines', async t => {
    t.strictSame(documents.map(({ kind }) => kind).sort(), ['Deployment', 'HorizontalPodAutoscaler', 'NetworkPolicy',
      'PodDisruptionBudget', 'Service', 'ServiceAccount'])
    t.strictSame(typeErrors(documents), [])
  })

  t.test('type check fails when a key, type, version or kind is invalid', async t => {
    const invalid = [
      ['readOnlyRootFilesystem: true', 'readOnlyRootFileSystem: true', /readOnlyRootFileSystem\W+ does not exist/],
      ['periodSeconds: 10', 'periodSecond: 10', /periodSecond\W+ does not exist/],
      ['scaleTargetRef:', 'scaleTargetRe:', /scaleTargetRe\W+ does not exist/],
      ['runAsUser: 65532', 'runAsUser: "65532"', /'string' is not assignable to type 'number'/],
      ['value: "9091"', 'value: 9091', /'number' is not assignable to type 'string'/],
      ['drop: [ALL]', 'drop: ALL', /'string' is not assignable to type 'string\[\]'/],
      ['apiVersion: policy/v1', 'apiVersion: policy/v1beta1', /Cannot find module 'kubernetes-types\/policy\/v1beta1'/],
      ['kind: NetworkPolicy', 'kind: NetworkPolicies', /has no exported member named 'NetworkPolicies'/]
    ] as const
    const text = read('deploy/kubernetes.yaml')
    const errors = typeErrors(invalid.flatMap(([written, wrong]) => {
      t.ok(text.includes(written), written)
      return parseAllDocuments(text.replace(written, wrong)).map(document => document.toJS() as KubernetesDocument)
    }))
    t.equal(errors.length, invalid.length)
    for (const [, wrong, expected] of invalid) t.match(errors.join('\n'), expected, wrong)
  })

  t.test('every selector matches the labels of the pods', async t => {
    const { matchLabels } = deployment.spec.selector
    const selectors = [
      ...pod.spec.topologySpreadConstraints.map(({ labelSelector }) => labelSelector.matchLabels),
      one<{ spec: { selector: unknown } }>('Service').spec.selector,
      one<{ spec: { selector: { matchLabels: unknown } } }>('PodDisruptionBudget').spec.selector.matchLabels,
      one<{ spec: { podSelector: { matchLabels: unknown } } }>('NetworkPolicy').spec.podSelector.matchLabels
    ]
    for (const selector of [...selectors, pod.metadata.labels]) t.strictSame(selector, matchLabels)
    const { scaleTargetRef } = one<{ spec: { scaleTargetRef: unknown } }>('HorizontalPodAutoscaler').spec
    t.strictSame(scaleTargetRef, { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name })
    t.equal(pod.spec.serviceAccountName, one<KubernetesDocument>('ServiceAccount').metadata.name)
  })

  t.test('pod has a restricted security context and no service account token', async t => {
    t.match(pod.spec.securityContext, { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } })
    t.match(read('Dockerfile'), 'USER 65532:65532')
    t.strictSame(container.securityContext, {
      allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] }
    })
    t.equal(pod.spec.automountServiceAccountToken, false)
    t.equal(one<{ automountServiceAccountToken: boolean }>('ServiceAccount').automountServiceAccountToken, false)
  })

  t.test('rollout keeps replicas available', async t => {
    t.match(deployment.spec.strategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0 } })
    t.match(one('HorizontalPodAutoscaler'), { spec: { minReplicas: 2 } })
    t.match(one('PodDisruptionBudget'), { spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow' } })
  })

  t.test('manifest sets only variables of the reference', async t => {
    t.strictSame(unknown(Object.keys(environment)), [])
  })

  t.test('service accepts the configuration of the manifest and its mounted secrets', async t => {
    const folder = temporaryFolder(t)
    const inFolder = (path: string) => join(folder, path)
    for (const { name, mountPath, readOnly, subPath } of container.volumeMounts) {
      const secretName = pod.spec.volumes.find(volume => volume.name === name)?.secret.secretName
      const keys = secrets.get(secretName ?? '')
      if (keys === undefined) throw new Error(`the volume ${name} has no secret`)
      t.strictSame([readOnly, subPath], [true, undefined])
      mkdirSync(inFolder(mountPath), { recursive: true })
      for (const key of keys) writeFileSync(inFolder(join(mountPath, key)), 'text')
    }
    t.equal(container.volumeMounts.length, secrets.size, 'every secret is mounted')
    const files = Object.entries(environment).filter(([name]) => name.endsWith('_FILE'))
    t.equal(files.length, 3)
    for (const [name, path] of files) t.ok(existsSync(inFolder(path)), `${name} ${path}`)
    const config = readConfig({
      HOST: '0.0.0.0', ...environment, ...Object.fromEntries(files.map(([name, path]) => [name, inFolder(path)]))
    })

    t.ok(waitsFor(config, pod.spec.terminationGracePeriodSeconds))
    t.ok(config.shutdownGraceMs > config.cos.deadlineMs, 'requests in flight can finish')
    t.ok(config.shutdownDelayMs > 0)
    t.strictSame([...config.ineffective, ...config.unknown], [])
    const ports = Object.fromEntries(container.ports.map(({ name, containerPort }) => [name, containerPort]))
    t.strictSame(ports, { http: config.port, metrics: config.metricsPort })
    t.equal(pod.metadata.annotations['prometheus.io/port'], String(config.metricsPort))
  })

  t.test('probes, service and network policy use ports of the container', async t => {
    const names = container.ports.map(({ name }) => name)
    const { startupProbe, livenessProbe, readinessProbe } = container
    t.strictSame([startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path), ['/livez', '/livez', '/readyz'])
    const { ingress } = one<{ spec: { ingress: Array<{ ports: Array<{ port: string }> }> } }>('NetworkPolicy').spec
    const { ports } = one<{ spec: { ports: Array<{ targetPort: string }> } }>('Service').spec
    const named = [
      ...[startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.port),
      ...ports.map(({ targetPort }) => targetPort),
      ...ingress.flatMap(rule => rule.ports.map(({ port }) => port))
    ]
    t.strictSame(named.filter(port => !names.includes(port)), [])
  })

  t.test('applying the manifest again keeps the secrets, which a command creates', async t => {
    t.strictSame(all('Secret'), [])
    t.strictSame([...secrets.keys()].sort(), ['cos-inventory-proxy-callers', 'cos-inventory-proxy-credentials'])
    t.strictSame(secretsOf('docs/deployment.md'), secrets, 'the documentation has the same commands')
  })

  t.test('lookups of COS skip the search domains', async t => {
    const [, template = ''] = /`([^`]+)` \| Host of a bucket/.exec(read('docs/configuration.md')) ?? []
    const [option, ...others] = pod.spec.dnsConfig.options
    t.strictSame([option?.name, others], ['ndots', []])
    t.ok(template.split('.').length - 1 >= Number(option?.value), template)
  })

  t.test('network policy allows DNS in the cluster and on the node, and COS', async t => {
    const { egress } = one<{ spec: { egress: Egress[] } }>('NetworkPolicy').spec
    const dns = [{ protocol: 'UDP', port: 53 }, { protocol: 'TCP', port: 53 }]
    t.strictSame(egress, [
      { to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } }], ports: dns },
      { to: [{ ipBlock: { cidr: '169.254.20.10/32' } }], ports: dns },
      { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['169.254.0.0/16'] } }], ports: [{ protocol: 'TCP', port: 443 }] }
    ])
  })

  t.test('memory request exceeds what was measured, and the limit exceeds the heap', async t => {
    const [, measured] = /Over a million requests it stays between \d+\s+and (\d+) MiB/.exec(read('docs/performance.md')) ?? []
    const { requests, limits } = container.resources
    t.ok(Number.parseInt(requests.memory) > Number(measured), `${requests.memory}, ${measured} MiB`)
    t.ok(Number.parseInt(limits.memory) > 384)
    t.match(read('docs/deployment.md'), `| memory request, limit | ${requests.memory}, ${limits.memory} |`)
  })

  t.test('image tag equals the version of package.json', async t => {
    t.ok(container.image.endsWith(`:${JSON.parse(read('package.json')).version}`), container.image)
  })
})

interface ComposeService {
  image: string
  build?: unknown
  profiles?: string[]
  ports?: string[]
  volumes?: string[]
  tmpfs?: string[]
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
  stop_grace_period?: string
}

test('docker run waits for the default grace period in every example', async t => {
  const examples = ['README.md', 'docs/deployment.md', '.env.example'].flatMap(path =>
    read(path).replaceAll('\\\n', ' ').split('\n')
      .filter(line => /docker run .*(COS_REGION|--env-file)/.test(line) && !line.includes('dist/check.js')))
  t.equal(examples.length, 3)
  const config = readConfig({ AUTH: 'none', COS_SECRET_ID: 'id', COS_SECRET_KEY: 'key' })
  t.ok(config.shutdownGraceMs > config.cos.deadlineMs)
  for (const example of examples) t.ok(waitsFor(config, Number(/--stop-timeout (\d+)/.exec(example)?.[1])), example)
})

test('docker-compose.yml', async t => {
  const { services } = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, ComposeService> }
  const { 'replica-1': replica, nginx, redis } = services as Record<'replica-1' | 'nginx' | 'redis', ComposeService>
  const configurationOf = ({ environment }: ComposeService) => readConfig({ HOST: '0.0.0.0', ...environment })

  t.test('default profile starts service and emulator, profile scale two replicas', async t => {
    const [plain, scale] = [undefined, 'scale'].map(profile =>
      Object.keys(services).filter(name => services[name]?.profiles?.[0] === profile))
    t.strictSame(plain, ['service', 'emulator'])
    t.strictSame(scale, ['replica-1', 'replica-2', 'nginx', 'redis'])
    t.strictSame(services['replica-2'], replica)
    for (const [name, { depends_on: needed = {} }] of Object.entries(services)) {
      for (const [other, { condition }] of Object.entries(needed)) {
        t.ok(Object.hasOwn(services, other), `${name} ${other}`)
        t.equal(condition, 'service_healthy')
      }
    }
  })

  t.test('replicas use the image of the service and never pull it', async t => {
    t.equal(replica.image, services['service']?.image)
    t.match(replica, { pull_policy: 'never' })
    t.notOk(replica.build)
  })

  t.test('nginx is published on loopback, other services of its profile are not', async t => {
    t.strictSame(nginx.ports, [`127.0.0.1:$${'{SCALE_PORT:-8081}'}:8080`])
    t.strictSame([replica.ports, redis.ports], [undefined, undefined])
  })

  t.test('every container has a restricted security context', async t => {
    for (const [name, service] of Object.entries(services)) {
      t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] }, name)
    }
    const written = [...read('deploy/nginx.conf').matchAll(/^ *(?:pid|\w+_temp_path) (\/\w+)\//gm)].map(([, folder]) => folder)
    t.equal(written.length, 6)
    t.strictSame([...new Set(written)], nginx.tmpfs, 'every path that nginx writes to is a tmpfs')
  })

  t.test('services set only variables of the reference, and the service accepts them', async t => {
    for (const [name, service] of Object.entries(services)) {
      t.strictSame(unknown(Object.keys(service.environment ?? {})), [], name)
    }
    for (const name of ['service', 'replica-1']) {
      const { ineffective, unknown } = configurationOf(services[name] as ComposeService)
      t.strictSame([...ineffective, ...unknown], [], name)
    }
    t.match(configurationOf(replica), { auth: 'none', rateLimit: { perMinute: 600 }, metricsPort: 9091 })
    t.equal(configurationOf(replica).rateLimit.redisUrl?.reveal(), 'redis://redis:6379')
    t.match(configurationOf(replica).trustedProxies, ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'])
  })

  t.test('stop_grace_period allows a graceful shutdown', async t => {
    for (const service of [services['service'] as ComposeService, replica]) {
      const config = configurationOf(service)
      t.ok(config.shutdownGraceMs > config.cos.deadlineMs)
      t.ok(waitsFor(config, Number.parseInt(service.stop_grace_period ?? '')))
    }
    const [, shutdownSeconds] = /worker_shutdown_timeout (\d+)s;/.exec(read('deploy/nginx.conf')) ?? []
    t.ok(Number.parseInt(nginx.stop_grace_period ?? '') > Number(shutdownSeconds))
  })

  t.test('nginx mounts its configuration file, which names the replicas', async t => {
    const [from = '', to, mode] = nginx.volumes?.[0]?.split(':') ?? []
    t.strictSame([to, mode], ['/etc/nginx/nginx.conf', 'ro'])
    t.ok(existsSync(pathOf(from)))
    const named = [...read(from).matchAll(/^ *server ([\w-]+):(\d+) resolve/gm)].map(([, name, port]) => [name, Number(port)])
    const { port } = configurationOf(replica)
    t.strictSame(named, [['replica-1', port], ['replica-2', port]])
  })
})
