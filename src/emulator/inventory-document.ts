import { CosError } from './cos-error.ts'
import { isBucketName } from './host.ts'
import { type XmlElement, elementsAt, parseXml, textAt, writeXml } from './xml.ts'

interface Rule { min: 0 | 1, max: number, text?: RegExp, children?: Grammar }
type Grammar = Record<string, Rule>

/** The id and the region that a PUT or POST body must match. */
export interface DocumentPlace { id: string, region: string }

const exactly = (text?: RegExp): Rule => ({ min: 1, max: 1, ...(text && { text }) })
const optional = (text?: RegExp): Rule => ({ min: 0, max: 1, ...(text && { text }) })
const forbidden: Rule = { min: 0, max: 0 }
const anyNumber = (children?: Grammar): Rule => ({ min: 0, max: Infinity, ...(children && { children }) })

const tags = anyNumber({ Key: exactly(/[^]/), Value: exactly() })
/** An empty number counts as absent, because the PUT page shows an empty MonthlyDate (COS document 30625). */
const integer = /^\d{0,15}$/

// COS documents 30625 (PUT) and 30623 (GET). Elements without a rule are kept and not checked, as in COS.
const periodicGrammar: Grammar = {
  Id: exactly(),
  IsEnabled: exactly(/^(true|false)$/i),
  IncludedObjectVersions: exactly(/^(All|Current)$/),
  Schedule: {
    ...exactly(),
    children: { Frequency: exactly(/^(Daily|Weekly|Monthly)$/), MonthlyDate: optional(integer) }
  },
  Filter: {
    ...optional(),
    children: {
      Prefix: optional(),
      Tag: tags,
      And: { ...optional(), children: { Prefix: optional(), Tag: tags, Period: forbidden } },
      Period: { ...optional(), children: { StartTime: optional(integer), EndTime: optional(integer) } }
    }
  },
  OptionalFields: { ...optional(), children: { Field: anyNumber() } },
  Destination: {
    ...exactly(),
    children: {
      COSBucketDestination: {
        ...exactly(),
        children: {
          Bucket: exactly(),
          Format: exactly(/^(CSV|ORC|Parquet)$/),
          AccountId: optional(/^\d*$/),
          Prefix: optional(),
          Encryption: {
            ...optional(),
            // Any text is valid, because coscli sends 111 and Terraform can only send a text.
            children: { 'SSE-COS': optional(), SSECOS: optional() }
          }
        }
      }
    }
  }
}

// COS document 46869.
const oneTimeGrammar: Grammar = { ...periodicGrammar, IsEnabled: forbidden, Schedule: forbidden }

/**
 * Checks a PUT body: the document, then its id against the query, then values against each other. Returns the stored
 * form: the elements as sent, without declaration, attributes and blanks, and with booleans in lower case.
 *
 * @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid
 */
export function readPeriodicInventory (body: Buffer, place: DocumentPlace): string {
  return readInventory(body, periodicGrammar, place)
}

/**
 * Checks a POST body, which has no IsEnabled and no Schedule.
 *
 * @throws CosError MalformedXML, InvalidArgument, TargetBucketNameInvalid
 */
export function readOneTimeInventory (body: Buffer, place: DocumentPlace): string {
  return readInventory(body, oneTimeGrammar, place)
}

function readInventory (body: Buffer, grammar: Grammar, { id, region }: DocumentPlace): string {
  const root = parseXml(body)
  if (root.name !== 'InventoryConfiguration') throw unfit('the root element must be InventoryConfiguration')
  checkElement(root, { min: 1, max: 1, children: grammar })
  if (textAt(root, 'Id') !== id) {
    throw new CosError('InvalidArgument', 'The Id of the body is not the id of the query.')
  }
  checkSchedule(root)
  // The POST page printed a filter by tag without the field as its sample (COS document 46869).
  if (grammar === periodicGrammar) checkTags(root)
  checkDestination(root, region)
  for (const enabled of elementsAt(root, 'IsEnabled')) enabled.text = enabled.text.toLowerCase()
  return writeXml(root)
}

function checkElement (element: XmlElement, { text, children }: Rule): void {
  if (children === undefined) {
    if (element.children.length > 0) throw unfit(`${element.name} must not have elements`)
    if (text?.test(element.text) === false) throw unfit(`${element.name} has a value it cannot have`)
    return
  }
  if (element.text.trim() !== '') throw unfit(`${element.name} must not have text`)
  for (const [name, rule] of Object.entries(children)) {
    const found = element.children.filter(child => child.name === name)
    if (found.length < rule.min) throw unfit(`${element.name} must have ${name}`)
    if (found.length > rule.max) throw unfit(`${element.name} has ${name} too often`)
    for (const child of found) checkElement(child, rule)
  }
}

// COS does not document the range of the day. The emulator accepts 29 to 31, although some months lack them. Terraform
// sends Monthly without a day.
function checkSchedule (root: XmlElement): void {
  const isMonthly = textAt(root, 'Schedule', 'Frequency') === 'Monthly'
  const day = textAt(root, 'Schedule', 'MonthlyDate') ?? ''
  if (day === '') return
  if (!isMonthly) throw new CosError('InvalidArgument', 'MonthlyDate goes with the frequency Monthly only.')
  if (Number(day) < 1 || Number(day) > 31) {
    throw new CosError('InvalidArgument', 'MonthlyDate must be 1 to 31.')
  }
}

function checkTags (root: XmlElement): void {
  const tags = [...elementsAt(root, 'Filter', 'Tag'), ...elementsAt(root, 'Filter', 'And', 'Tag')]
  const fields = elementsAt(root, 'OptionalFields', 'Field').map(({ text }) => text.toLowerCase())
  if (tags.length > 0 && !fields.includes('tag')) {
    throw new CosError('InvalidArgument', 'A filter by tag needs the optional field Tag.')
  }
}

function checkDestination (root: XmlElement, region: string): void {
  const resource = textAt(root, 'Destination', 'COSBucketDestination', 'Bucket') as string
  const [, ofRegion, bucket] = /^qcs::cos:([^:]*)::(.*)$/s.exec(resource) ?? []
  if (bucket === undefined || !isBucketName(bucket)) throw new CosError('TargetBucketNameInvalid')
  if (ofRegion !== region) {
    throw new CosError('TargetBucketNameInvalid', 'The destination must be in the region of the source bucket.')
  }
}

function unfit (issue: string): CosError {
  return new CosError('MalformedXML', `The XML you provided does not fit the schema: ${issue}.`)
}
