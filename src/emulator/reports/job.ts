import { type XmlElement, elementsAt, parseXml, textAt } from '../xml.ts'

/** A stored configuration or a one-time job, as far as reports need it. */
export interface ReportJob {
  /** True also for a one-time job. */
  isEnabled: boolean
  allVersions: boolean
  /** Undefined for a one-time job. */
  schedule: Schedule | undefined
  filter: ReportFilter
  /** Names of optional fields as sent, in order. */
  fields: string[]
  destination: { bucket: string, format: string, prefix: string }
}

export interface Schedule {
  frequency: 'Daily' | 'Weekly' | 'Monthly'
  /** 1 to 31. */
  monthlyDate: number
}

/** An object must meet all parts. */
export interface ReportFilter {
  /** The key begins with each of them. */
  prefixes: string[]
  tags: Array<{ key: string, value: string }>
  /** The object has one of them; any class when empty. */
  storageClasses: string[]
  /** First and last time of the last modification, in milliseconds since 1970. */
  fromMs: number
  toMs: number
}

/** Reads a stored document, which was checked when it was stored. */
export function readJob (xml: string): ReportJob {
  const root = parseXml(Buffer.from(xml))
  const at = (...path: string[]) => textAt(root, ...path)
  const frequency = at('Schedule', 'Frequency') as Schedule['frequency'] | undefined
  const destination = ['Destination', 'COSBucketDestination'] as const
  const resource = at(...destination, 'Bucket') as string
  return {
    isEnabled: at('IsEnabled') !== 'false',
    allVersions: at('IncludedObjectVersions') === 'All',
    // Terraform sends Monthly without a day. The first day is a guess.
    schedule: frequency && { frequency, monthlyDate: Number(at('Schedule', 'MonthlyDate') || 1) },
    filter: readFilter(root),
    fields: elementsAt(root, 'OptionalFields', 'Field').map(({ text }) => text),
    destination: {
      bucket: resource.slice(resource.lastIndexOf(':') + 1),
      format: at(...destination, 'Format') as string,
      prefix: at(...destination, 'Prefix') ?? ''
    }
  }
}

// Clients put each condition directly into the filter or below And.
function readFilter (root: XmlElement): ReportFilter {
  const conditions = (name: string) =>
    [...elementsAt(root, 'Filter', name), ...elementsAt(root, 'Filter', 'And', name)]
  const seconds = (name: string, otherwise: number) => {
    const text = textAt(root, 'Filter', 'Period', name)
    return text ? Number(text) * 1000 : otherwise
  }
  return {
    prefixes: conditions('Prefix').map(({ text }) => text),
    tags: conditions('Tag').map(tag => ({ key: textAt(tag, 'Key') as string, value: textAt(tag, 'Value') as string })),
    storageClasses: conditions('StorageClass').map(({ text }) => text),
    fromMs: seconds('StartTime', -Infinity),
    toMs: seconds('EndTime', Infinity)
  }
}
