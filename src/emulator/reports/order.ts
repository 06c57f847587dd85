import {
  type Member, boolean, findErrors, isObject, matching, object, required, text, wholeNumber
} from '../members.ts'
import { parseDate } from './day.ts'
import { generateContents } from './generated-contents.ts'
import type { BucketContents, InventoryObject } from './inventory-object.ts'
import { type ReportDelivery, type ReportForm, reportKnobs, toMembers, withDefaults } from './knobs.ts'

/** An object of the source bucket, with the names of the columns. */
export interface ReportedObject {
  Key: string
  Size?: number
  /** ISO 8601 with a time zone. */
  LastModifiedDate?: string
  /** With or without quotes. */
  ETag?: string
  StorageClass?: string
  IsMultipartUploaded?: boolean
  ReplicationStatus?: string
  Tag?: Record<string, string>
  Crc64?: string
  /** By header names, such as x-cos-meta-owner. */
  Metadata?: Record<string, string>
  VersionId?: string
  /** True when absent. */
  IsLatest?: boolean
  /** False when absent. */
  IsDeleteMarker?: boolean
}

/** A report to deliver. */
export interface ReportOrder {
  /** The source bucket. */
  bucket: string
  /** The id of a stored configuration, or of a one-time job of the last day. */
  id: string
  /** The day of the scan as YYYYMMDD; the present one in UTC+8 when absent. */
  date?: string
  /** The contents of the source bucket from now on. Without `objects` and `count` they do not change. */
  objects?: ReportedObject[]
  /** A number of generated objects, instead of `objects`. */
  count?: number
  /** Selects the generated objects; 1 when absent. */
  seed?: number
  form?: Partial<ReportForm>
  delivery?: Partial<ReportDelivery>
}

/** A valid order. */
export interface ParsedOrder {
  bucket: string
  id: string
  /** Days since 1970. */
  day: number | undefined
  contents: BucketContents | undefined
  form: ReportForm
  delivery: ReportDelivery
}

const metadataName = /^x-cos-meta-[\w.-]+$/i
const isUnicode = (value: unknown) => typeof value === 'string' && !/\p{Surrogate}/u.test(value)
const texts: Member = {
  expected: 'an object of strings of Unicode',
  accepts: value => isObject(value) && [...Object.keys(value), ...Object.values(value)].every(isUnicode)
}
const list: Member = { expected: 'a list', accepts: Array.isArray }

const orderMembers: Record<string, Member> = {
  bucket: required(text),
  id: required(text),
  date: {
    expected: 'a day of the calendar as YYYYMMDD',
    accepts: value => typeof value === 'string' && parseDate(value) !== undefined
  },
  objects: list,
  count: wholeNumber(0, 100_000_000),
  seed: wholeNumber(0, 0xffff_ffff),
  form: object,
  delivery: object
}

const objectMembers: Record<string, Member> = {
  Key: required({
    expected: 'a string of Unicode that is not empty',
    accepts: value => isUnicode(value) && value !== ''
  }),
  Size: wholeNumber(0),
  LastModifiedDate: {
    expected: 'a time such as 2026-11-20T02:41:07.000Z',
    accepts: value => typeof value === 'string' && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(value) &&
      !Number.isNaN(Date.parse(value))
  },
  ETag: text,
  StorageClass: text,
  IsMultipartUploaded: boolean,
  ReplicationStatus: text,
  Tag: texts,
  Crc64: matching(/^\d{1,20}$/, 'a string of at most 20 digits'),
  Metadata: {
    expected: 'an object of x-cos-meta- headers',
    accepts: value => texts.accepts(value) && Object.keys(value as object).every(name => metadataName.test(name))
  },
  VersionId: text,
  IsLatest: boolean,
  IsDeleteMarker: boolean
}

const formMembers = toMembers(reportKnobs.form)
const deliveryMembers = toMembers(reportKnobs.delivery)

/** Returns a valid order, or the list of its issues. */
export function parseOrder (value: unknown): { order: ParsedOrder } | { errors: string[] } {
  if (!isObject(value)) return { errors: ['the body must be an object'] }
  const errors = [
    ...findErrors('', value, orderMembers),
    ...isObject(value['form']) ? findErrors('form.', value['form'], formMembers) : [],
    ...isObject(value['delivery']) ? findErrors('delivery.', value['delivery'], deliveryMembers) : [],
    ...Array.isArray(value['objects']) ? value['objects'].flatMap(findObjectErrors) : [],
    ...value['objects'] !== undefined && value['count'] !== undefined ? ['objects and count exclude each other'] : [],
    ...value['seed'] !== undefined && value['count'] === undefined ? ['seed needs count'] : []
  ]
  return errors.length > 0 ? { errors } : { order: toOrder(value as unknown as ReportOrder) }
}

function findObjectErrors (value: unknown, index: number): string[] {
  return isObject(value)
    ? findErrors(`objects[${index}].`, value, objectMembers)
    : [`objects[${index}] must be an object`]
}

function toOrder ({ bucket, id, date, objects, count, seed = 1, form, delivery }: ReportOrder): ParsedOrder {
  const listed = objects === undefined ? undefined : listContents(objects)
  return {
    bucket,
    id,
    day: date === undefined ? undefined : parseDate(date),
    contents: count === undefined ? listed : generateContents(count, seed),
    form: withDefaults(reportKnobs.form, form),
    delivery: withDefaults(reportKnobs.delivery, delivery)
  }
}

function listContents (objects: ReportedObject[]): BucketContents {
  const rows = objects.map(toInventoryObject)
  const names = rows.flatMap(({ Metadata = {} }) => Object.keys(Metadata))
  return {
    count: rows.length,
    isGenerated: false,
    metadataNames: [...new Set(names)].sort(),
    at: index => rows[index] as InventoryObject
  }
}

function toInventoryObject (reported: ReportedObject): InventoryObject {
  const { LastModifiedDate, ETag, Metadata, IsLatest = true, IsDeleteMarker = false, ...others } = reported
  return {
    ...others,
    lastModifiedMs: LastModifiedDate === undefined ? undefined : Date.parse(LastModifiedDate),
    ETag: ETag?.replace(/^"(.*)"$/, '$1'),
    Metadata: Metadata && Object.fromEntries(
      Object.entries(Metadata).map(([name, value]) => [name.toLowerCase(), value])),
    IsLatest,
    IsDeleteMarker
  }
}
