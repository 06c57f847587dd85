/** A report that is not delivered. */
export class ReportRejection extends Error {
  /** 400: the order is malformed. 404: there is no such job. 409: its state does not allow a report. */
  readonly status: 400 | 404 | 409
  /** All issues. */
  readonly errors: string[]

  constructor (status: 400 | 404 | 409, ...errors: string[]) {
    super(errors.join('; '))
    this.name = 'ReportRejection'
    this.status = status
    this.errors = errors
  }
}
