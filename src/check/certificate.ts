import type { X509Certificate } from 'node:crypto'
import type { TlsConfig } from '../config/config.ts'
import { ConfigError } from '../config/environment.ts'
import { certificatesIn, readTls } from '../http/connections/tls.ts'
import type { TlsOptions } from '../http/connections/tls.ts'
import type { Report } from './finding.ts'

const dayMs = 86_400_000
const soonMs = 14 * dayMs

/**
 * Checks the files of TLS: certificate and key as the service does, the dates of all certificates, and the order of the
 * chain.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {ConfigError} as {@link readTls} does
 */
export function checkCertificate (tls: TlsConfig | undefined, report: Report, now: number): void {
  if (tls === undefined) {
    report.ok('TLS_CERT_FILE is not set, so the service speaks plain HTTP.')
    return
  }
  const files = readFiles(tls, report)
  if (files === undefined) return
  const { cert, ca } = files
  const chain = certificatesIn(cert)
  const isDated = checkDates('TLS_CERT_FILE', chain, report, now)
  const isOrdered = checkOrder(chain, report)
  const areAuthoritiesDated = ca === undefined || checkDates('TLS_CLIENT_CA_FILE', certificatesIn(ca), report, now)
  if (!isDated || !isOrdered || !areAuthoritiesDated) return
  const end = Math.min(...chain.map(endOf))
  report.ok(`TLS_CERT_FILE matches TLS_KEY_FILE and is valid until ${day(end)}. Clients must trust ` +
    `${nameOf((chain.at(-1) as X509Certificate).issuer)}.`)
}

/** @throws {ConfigError} as {@link readTls} does */
function readFiles (tls: TlsConfig, report: Report): TlsOptions | undefined {
  try {
    return readTls(tls)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code } = error as NodeJS.ErrnoException
    report.error(`OpenSSL rejects TLS_CERT_FILE or TLS_KEY_FILE: ${code}. Use a stronger key and signature.`)
    return undefined
  }
}

function checkDates (variable: string, certificates: X509Certificate[], report: Report, now: number): boolean {
  let isValid = true
  for (const [index, certificate] of certificates.entries()) {
    const which = `${variable}: certificate ${index + 1} (${nameOf(certificate.subject)})`
    const end = endOf(certificate)
    if (now < Date.parse(certificate.validFrom)) {
      report.error(`${which} is not valid before ${day(Date.parse(certificate.validFrom))}. Use another one, or set the clock.`)
      isValid = false
    } else if (now > end) {
      report.error(`${which} expired on ${day(end)}. Replace it.`)
      isValid = false
    } else if (end - now < soonMs) report.warning(`${which} expires on ${day(end)}. Replace it.`)
  }
  return isValid
}

/** Checks that each certificate issued the one before it (RFC 8446, section 4.4.2, recommends this order). */
function checkOrder (chain: X509Certificate[], report: Report): boolean {
  const wrong = chain.findIndex((certificate, index) => {
    const issuer = chain[index + 1]
    return issuer !== undefined && !(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
  })
  if (wrong === -1) return true
  report.error(`TLS_CERT_FILE: certificate ${wrong + 2} did not issue certificate ${wrong + 1}, ` +
    `${nameOf((chain[wrong] as X509Certificate).issuer)} did. Put the certificate of the service first, then each issuer.`)
  return false
}

function endOf ({ validTo }: X509Certificate): number {
  return Date.parse(validTo)
}

function nameOf (distinguishedName: string): string {
  return distinguishedName.split('\n').join(', ')
}

function day (at: number): string {
  return new Date(at).toISOString().slice(0, 'YYYY-MM-DD'.length)
}
