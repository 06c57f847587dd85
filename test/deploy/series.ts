import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bucket, configuration, secrets, startTestEmulator, startTestService } from '../start.ts'
import type { Test } from '../start.ts'
import { temporaryFolder } from './nginx.ts'

/** Names of series with their labels. */
export type Series = Map<string, Set<string>>

/** Labels that Prometheus adds to every scraped series. The last one is a label of the pod. */
export const targetLabels = ['job', 'instance', 'app_kubernetes_io_name']

/** Returns the series of a real `/metrics` after traffic that updates all of them. */
export async function measuredSeries (t: Test): Promise<Series> {
  const emulator = await startTestEmulator(t)
  const path = `/buckets/${bucket}/inventories`
  const { call: prepare } = await startTestService(t, emulator.address)
  await prepare('PUT', `${path}/daily`, configuration)
  await emulator.deliverReport({ bucket, id: 'daily', count: 1 })
  const file = join(temporaryFolder(t), 'key.json')
  writeFileSync(file, JSON.stringify({ ...secrets, ExpiredTime: Math.ceil(Date.now() / 1000) + 7200 }))
  const { call } = await startTestService(t, emulator.address, {
    COS_CREDENTIALS: 'file',
    COS_CREDENTIALS_FILE: file,
    COS_MAX_ATTEMPTS: '2',
    REPORTS: 'true',
    REPORTS_WATCH: `${bucket}/daily,${bucket}/missing`
  })
  let checked = ''
  while (!/^cos_inventory_report_check_failures_total\{/m.test(checked)) checked = (await call('GET', '/metrics')).text
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 1 })
  await call('GET', path)
  await call('GET', `${path}/missing`)
  const { text } = await call('GET', '/metrics')
  return parseSeries(text)
}

/** Parses the Prometheus text format (version 0.0.4). A metric without values has no labels. */
export function parseSeries (text: string): Series {
  const series: Series = new Map()
  for (const line of text.split('\n')) {
    const [, declared, type] = /^# TYPE (\S+) (\w+)$/.exec(line) ?? []
    if (declared !== undefined) {
      const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      for (const suffix of suffixes) series.set(declared + suffix, new Set())
    }
    const [, name, labels = ''] = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? \S+$/.exec(line) ?? []
    if (name === undefined) continue
    const known = series.get(name) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) known.add(label)
    series.set(name, known)
  }
  return series
}
