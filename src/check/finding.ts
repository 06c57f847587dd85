/** The result of a check. An error stops the service or its calls to COS. */
export interface Finding {
  level: 'ok' | 'warning' | 'error'
  /** The name of the check, such as `certificate`. */
  check: string
  /** The cause, then the remedy. It contains no secret. */
  text: string
}

/** Receives the findings of one check. */
export interface Report {
  ok (text: string): void
  warning (text: string): void
  error (text: string): void
}

/** Creates the report of a check, which adds its findings to a list. */
export function reportTo (findings: Finding[], check: string): Report {
  const add = (level: Finding['level']) => (text: string) => { findings.push({ level, check, text }) }
  return { ok: add('ok'), warning: add('warning'), error: add('error') }
}

/** Returns a finding as one line. Control characters become spaces: texts can quote a certificate or COS. */
export function lineOf ({ level, check, text }: Finding): string {
  // eslint-disable-next-line no-control-regex -- these are the characters to replace
  return `${level.padEnd(7)} ${check.padEnd(13)} ${text.replace(/[\x00-\x1F\x7F-\x9F\u2028\u2029]+/g, ' ')}`
}
