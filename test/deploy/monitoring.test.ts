import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { problemTable } from '../../src/errors.ts'
import { temporaryFolder } from './nginx.ts'
import { readExpression } from './promql.ts'
import { measuredSeries, parseSeries, targetLabels } from './series.ts'
import type { Series } from './series.ts'
import { pathOf, read, run } from './tools.ts'

interface Rule {
  alert?: string
  record?: string
  expr: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

interface Deployment { spec: { template: { metadata: Record<'labels' | 'annotations', Record<string, string>> } } }

interface Target { expr: string, legendFormat: string, refId: string, datasource: { uid: string } }

interface Panel {
  id: number
  type: string
  title: string
  description?: string
  datasource?: { uid: string }
  gridPos: { x: number, y: number, w: number, h: number }
  fieldConfig?: { defaults: { unit?: string } }
  targets?: Target[]
}

const rules = (parse(read('deploy/prometheus-alerts.yml')) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap(group => group.rules)
const alerts = rules.filter(rule => rule.alert !== undefined)
const dashboard = JSON.parse(read('deploy/grafana-dashboard.json')) as {
  id: null
  panels: Panel[]
  templating: { list: Array<{ name: string, type: string, definition?: string }> }
}
const panels = dashboard.panels.filter(({ type }) => type !== 'row')

/** Replaces the variables of Grafana, so that Prometheus can parse the expression. */
const substituted = (expression: string) =>
  expression.replaceAll('$__rate_interval', '5m').replace(/\$(?:job|instance)\b/g, 'x')

const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat, refId }) => ({ where: `${title} ${refId}`, expr: substituted(expr), legendFormat })))

/** Returns the labels that the result of an expression can have: its grouping, else the labels of its metrics. */
function labelsOf (expression: string, series: Series): Set<string> {
  const { metrics, grouping } = readExpression(expression)
  if (grouping.size > 0 || /\b(?:sum|count|max|min)\(/.test(expression)) return grouping
  return new Set([...targetLabels, ...[...metrics.keys()].flatMap(name => [...series.get(name) ?? []])])
}

/** Returns the metrics and labels of an expression that the service does not export. */
function unknownIn (expression: string, series: Series): string[] {
  const { metrics, grouping } = readExpression(expression)
  const all = new Set([...targetLabels, ...[...metrics.keys()].flatMap(name => [...series.get(name) ?? []])])
  return [
    ...[...metrics].flatMap(([name, labels]) => {
      const known = series.get(name)
      if (known === undefined) return [name]
      return [...labels].filter(label => !known.has(label) && !targetLabels.includes(label)).map(label => `${name}{${label}}`)
    }),
    ...[...grouping].filter(label => !all.has(label)).map(label => `by (${label})`)
  ]
}

test('promtool accepts the alert rules', async t => {
  const { code, output } = run('promtool', ['check', 'rules', pathOf('deploy/prometheus-alerts.yml')])
  t.equal(code, 0, output)
})

test('every alert has a promtool test and fires as that test expects', async t => {
  const { code, output } = run('promtool', ['test', 'rules', pathOf('deploy/prometheus-alerts.test.yml')])
  t.equal(code, 0, output)
  const tested = read('deploy/prometheus-alerts.test.yml')
  t.strictSame(alerts.filter(({ alert }) => !tested.includes(`alertname="${alert}"`)), [])
})

test('every alert has a severity, a summary, a description, an action and a runbook', async t => {
  const headings = new Set([...read('docs/runbooks.md').matchAll(/^## (.+)$/gm)]
    .map(([, heading = '']) => `docs/runbooks.md#${heading.toLowerCase().replaceAll(' ', '-')}`))
  t.ok(alerts.length > 15)
  for (const { alert = '', labels, annotations = {} } of alerts) {
    t.ok(['page', 'ticket'].includes(labels?.['severity'] ?? ''), alert)
    t.strictSame(Object.keys(annotations).sort(), ['action', 'description', 'runbook_url', 'summary'], alert)
    t.ok(headings.has(annotations['runbook_url'] ?? ''), `${alert}: ${annotations['runbook_url']}`)
    t.ok(Object.values(annotations).every(text => text.length > 10), alert)
  }
})

test('alerts select the series of pods that a job for annotated pods scrapes', async t => {
  const { metadata: { labels, annotations } } = (parseAllDocuments(read('deploy/kubernetes.yaml'))
    .map(document => document.toJS()).find(({ kind }) => kind === 'Deployment') as Deployment).spec.template
  t.match(annotations, { 'prometheus.io/scrape': 'true', 'prometheus.io/path': '/metrics' })
  // The rule `labelmap` of such a job: the configuration `prometheus-kubernetes.yml` of Prometheus, and its Helm chart.
  const scraped = new Map(Object.entries(labels).map(([name, value]) => [name.replace(/[^a-zA-Z0-9_]/g, '_'), value]))
  const selectors = rules.flatMap(({ expr }) => expr.match(/\b(?!job:)[a-z][\w:]*\{[^}]*\}/g) ?? [])
  t.ok(selectors.length > 40)
  for (const selector of selectors) {
    const [, name = '', value] = /[{ ](app_\w+)="([^"]+)"/.exec(selector) ?? []
    t.equal(scraped.get(name), value, selector)
    t.notMatch(selector, /\bjob=/, 'the job has the name that its operator chose')
  }
  for (const { expr, alert = '' } of alerts) t.match(expr, /job:http_requests:|app_kubernetes_io_name=/, alert)
})

test('alerts and dashboard use the metrics of the service', async t => {
  const series = await measuredSeries(t)
  t.ok(series.size > 40)
  // Prometheus adds the first one. The others need Redis and TLS.
  for (const name of ['up', 'redis_up', 'tls_certificate_expiry_timestamp_seconds']) series.set(name, new Set())
  for (const { record } of rules) if (record !== undefined) series.set(record, new Set())

  t.test('check reports an unknown metric, label or grouping', async t => {
    t.strictSame(unknownIn('sum by (caller, cla) (rate(cos_attempts{clas="ok", job="x"}[5m]))', series),
      ['cos_attempts', 'by (caller)', 'by (cla)'])
    t.strictSame(unknownIn('sum(cos_attempts_total{clas="a} b", class=~"ok"} offset 5m) / nothing > 0.1e3', series),
      ['cos_attempts_total{clas}', 'nothing'])
  })

  t.test('metrics and labels of alerts and dashboard exist', async t => {
    for (const { alert, record, expr } of rules) t.strictSame(unknownIn(expr, series), [], alert ?? record ?? expr)
    for (const { where, expr } of queries) t.strictSame(unknownIn(expr, series), [], where)
    for (const { name, definition } of dashboard.templating.list) {
      const [, expression = 'up', label = 'job'] = /^label_values\((.+), (\w+)\)$/.exec(definition ?? '') ?? []
      t.strictSame(unknownIn(`sum by (${label}) (${substituted(expression)})`, series), [], name)
    }
  })

  t.test('labels in annotations and legends exist in the result', async t => {
    for (const { alert, expr, annotations } of alerts) {
      for (const [, label = ''] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)) {
        t.ok(labelsOf(expr, series).has(label), `${alert} ${label}`)
      }
    }
    for (const { where, expr, legendFormat } of queries) {
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        t.ok(labelsOf(expr, series).has(label), `${where} ${label}`)
      }
    }
  })

  t.test('dashboard shows every metric of the service', async t => {
    const shown = new Set(queries.flatMap(({ expr }) => [...readExpression(expr).metrics.keys()]))
    const own = [...series.keys()].filter(name => /^(?:audit|caller|config|cos|http|log|redis|report|tls)_/.test(name) && !/_(?:sum|count)$/.test(name))
    t.strictSame(own.filter(name => !shown.has(name)), [])
  })

  t.test('problem codes of alerts and dashboard exist', async t => {
    const text = [...rules, ...queries].map(({ expr }) => expr).join('\n')
    const codes = [...text.matchAll(/\bcode=~?"([^"]+)"/g)].flatMap(([, found = '']) => found.split('|'))
    t.ok(codes.length > 5)
    // AccessDenied is a code of COS.
    t.strictSame(codes.filter(code => !(code in problemTable) && code !== 'AccessDenied'), [])
  })
})

test('parseSeries reads escapes, metrics without values and histograms', async t => {
  const series = parseSeries([
    '# HELP a x', '# TYPE a counter', 'a{b="c\\"} d",e="f"} 1', 'a 2', '# TYPE g gauge',
    '# TYPE h histogram', 'h_bucket{le="1",i="j"} 0', ''
  ].join('\n'))
  t.strictSame([...series].map(([name, labels]) => [name, ...labels]),
    [['a', 'b', 'e'], ['g'], ['h_bucket', 'le', 'i'], ['h_sum'], ['h_count']])
})

test('promtool accepts every expression of the dashboard', async t => {
  const path = join(temporaryFolder(t), 'rules.yml')
  const check = (expressions: string[]) => {
    const groups = [{ name: 'dashboard', rules: expressions.map((expr, index) => ({ record: `expression:${index}`, expr })) }]
    writeFileSync(path, stringify({ groups }))
    return run('promtool', ['check', 'rules', path])
  }
  t.ok(queries.length > 40)
  const { code, output } = check(queries.map(({ expr }) => expr))
  t.equal(code, 0, output)
  t.not(check(['sum(rate(up[5m])']).code, 0)
})

test('deploy/grafana-dashboard.json', async t => {
  t.test('dashboard uses the data source that its user selects', async t => {
    t.equal(dashboard.id, null)
    t.strictSame(dashboard.templating.list.map(({ name, type }) => [name, type]),
      [['datasource', 'datasource'], ['job', 'query'], ['instance', 'query']])
    const sources = panels.flatMap(panel => [panel, ...panel.targets ?? []]).map(({ datasource }) => datasource?.uid)
    t.strictSame([...new Set(sources)], [`$${'{datasource}'}`])
  })

  t.test('every query selects job and instance', async t => {
    for (const { title, targets = [] } of panels) {
      t.ok(targets.length > 0, title)
      for (const { expr } of targets) {
        const selectors = expr.match(/\{[^}]*\}/g) ?? []
        t.ok(selectors.length > 0, title)
        for (const selector of selectors) t.match(selector, 'job=~"$job", instance=~"$instance"', title)
      }
    }
  })

  t.test('every panel except tables has a unit, and titles are unique', async t => {
    for (const { title, type, fieldConfig } of panels) if (type !== 'table') t.type(fieldConfig?.defaults.unit, 'string', title)
    t.equal(new Set(panels.map(({ title }) => title)).size, panels.length, 'titles are unique')
  })

  t.test('panels do not overlap', async t => {
    const taken = new Map<string, string>()
    for (const { title, gridPos: { x, y, w, h } } of dashboard.panels) {
      t.ok(x + w <= 24, title)
      for (let column = x; column < x + w; column++) {
        for (let row = y; row < y + h; row++) {
          const cell = `${column} ${row}`
          if (taken.has(cell)) t.fail(`${title} overlaps ${taken.get(cell)}`)
          taken.set(cell, title)
        }
      }
    }
    t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  })
})
