import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { breakingChanges } from '../breaking-changes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const text = readFileSync(`${root}/openapi/openapi.json`, 'utf8')
const document = JSON.parse(text)
const item = '/buckets/{bucket}/inventories/{id}'
const schemas = (each: typeof document) => each.components.schemas

/** Returns the document of the latest release. Without one, or without a repository, this is the present document. */
function releasedDocument () {
  if (!existsSync(`${root}/.git`)) return document
  const options = { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const
  const git = (...args: string[]) => execFileSync('git', ['-C', root, ...args], options).trim()
  const [tag = ''] = git('tag', '--list', 'v*', '--sort=-version:refname').split('\n')
  return tag === '' ? document : JSON.parse(git('show', `${tag}:openapi/openapi.json`))
}

/** Returns the part of a version that an incompatible change increases. */
function compatibleWith (version: string): string {
  const [major, minor] = version.split('.')
  return major === '0' ? `0.${minor}` : String(major)
}

t.test('the document breaks no client of the latest compatible release', async t => {
  const released = releasedDocument()
  const isCompatible = compatibleWith(released.info.version) === compatibleWith(document.info.version)
  t.strictSame(isCompatible ? breakingChanges(released, document) : [], [])
})

t.test('every kind of breaking change is found', async t => {
  const changes: Array<[string, (each: typeof document) => void]> = [
    ['removed', each => { delete each.paths['/livez'] }],
    ['operationId changed', each => { each.paths['/livez'].get.operationId = 'live' }],
    ['dry-run: removed', each => { each.paths['/buckets/{bucket}/inventories'].put.parameters.splice(3, 1) }],
    ['region: required', each => { each.components.parameters.RegionParameter.required = true }],
    ['If-Match: type changed', each => { each.components.parameters.IfMatchParameter.schema.type = 'integer' }],
    ['request: application/json removed', each => { delete each.paths[item].patch.requestBody.content['application/json'] }],
    ['request/Id: required', each => { schemas(each).InventoryConfigurationInput.required.push('Id') }],
    ['request/Filter/Prefix: removed', each => { delete schemas(each).Filter.properties.Prefix }],
    ['request/Schedule/Frequency: pattern changed', each => { schemas(each).Schedule.properties.Frequency.pattern = '^(Daily)$' }],
    ['412: removed', each => { delete each.paths[item].put.responses['412'] }],
    ['200: application/json removed', each => { each.paths[item].get.responses['200'].content = {} }],
    ['200/Schedule: no longer always present', each => { schemas(each).InventoryConfiguration.required = ['Id'] }],
    ['code: ValidationFailed removed', each => { schemas(each).ProblemCode.anyOf[0].enum.shift() }],
    ['in: cookie added', each => { schemas(each).Problem.properties.errors.items.properties.in.enum.push('cookie') }],
    ['200/Size: anyOf changed', each => { schemas(each).ReportRow.properties.Size.anyOf.pop() }],
    ['200 ETag: removed', each => { delete each.paths[item].get.responses['200'].headers.ETag }]
  ]
  for (const [expected, change] of changes) {
    const changed = JSON.parse(text)
    change(changed)
    t.match(breakingChanges(document, changed).join('\n'), new RegExp(expected), expected)
  }
})

t.test('additions break nothing', async t => {
  const changed = JSON.parse(text)
  changed.paths['/new'] = changed.paths['/livez']
  schemas(changed).InventoryConfigurationInput.properties.Comment = { type: 'string' }
  schemas(changed).InventoryConfiguration.required.push('Filter')
  schemas(changed).ProblemCode.anyOf[0].enum.push('NewCode')
  changed.paths[item].put.responses['422'] = changed.paths[item].put.responses['400']
  t.strictSame(breakingChanges(document, changed), [])
})
