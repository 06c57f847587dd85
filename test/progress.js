#!/usr/bin/env node
// Reads the results of tap: prints a line for each file with its time, each failed assertion, and the total.
import { Parser } from 'tap-parser'
import { stringify } from 'yaml'

const counts = { passed: 0, failed: 0, skipped: 0 }

function printFailure (titles, diagnostics) {
  console.log(`FAILED ${titles.filter(title => title !== '').join(' > ')}`)
  if (diagnostics) console.log(stringify(diagnostics).replace(/^/gm, '    '))
}

/** Counts the assertions of a test and of the tests within it. `titles` returns the titles of those around it. */
function watch (test, titles) {
  let title = ''
  let isResultOfChild = false
  const path = () => [...titles(), title]
  test.on('comment', text => { title ||= /^# Subtest: (.*)/.exec(text)?.[1] ?? '' })
  test.on('child', child => {
    isResultOfChild = true
    watch(child, path)
  })
  test.on('assert', ({ ok, name, diag, skip, todo }) => {
    if (isResultOfChild) {
      isResultOfChild = false
      return
    }
    counts[skip || todo ? 'skipped' : ok ? 'passed' : 'failed']++
    if (!ok) printFailure([...path(), name], diag)
  })
}

const parser = new Parser()
let failedBefore = 0
parser.on('child', file => { watch(file, () => []) })
parser.on('assert', ({ ok, name, time = 0, diag }) => {
  // A time limit or a crash fails a file whose assertions all passed.
  if (!ok && counts.failed === failedBefore) printFailure([name], diag)
  failedBefore = counts.failed
  console.log(`${ok ? 'passed' : 'FAILED'} ${(time / 1000).toFixed(1).padStart(6)} s  ${name}`)
})
parser.on('bailout', reason => { console.log(`FAILED Bail out! ${reason}`) })
parser.on('complete', ({ ok }) => {
  console.log(`${ok ? 'passed' : 'FAILED'}: ${counts.passed} assertions passed, ${counts.failed} failed, ${counts.skipped} skipped`)
})
process.stdin.pipe(parser)
