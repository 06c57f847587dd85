import { generate } from 'selfsigned'

/** A certificate and its key in PEM format. */
export interface Certified {
  cert: string
  key: string
}

/** Signs certificates for servers and clients. */
export interface Authority {
  cert: string
  issue (commonName: string, options?: { san?: string, expired?: boolean, days?: number }): Promise<Certified>
}

const dayMs = 86_400_000
const curve = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const

export async function createAuthority (name = 'Test CA'): Promise<Authority> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    ...curve,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true }
    ]
  })
  return {
    cert,
    async issue (commonName, { san, expired = false, days = 1 } = {}) {
      const now = Date.now()
      const issued = await generate([{ name: 'commonName', value: commonName }], {
        ...curve,
        ca: { cert, key },
        notBeforeDate: new Date(now - 2 * dayMs),
        notAfterDate: new Date(expired ? now - dayMs : now + days * dayMs),
        extensions: [
          { name: 'basicConstraints', cA: false },
          { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
          { name: 'subjectAltName', altNames: san === undefined ? [{ type: 2, value: commonName }] : [{ type: 6, value: san }] }
        ]
      })
      return { cert: issued.cert, key: issued.private }
    }
  }
}
