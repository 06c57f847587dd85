import { Type } from '@sinclair/typebox'
import { closed, component, documentedAs, Forbidden } from './schema.ts'
import { XmlText } from './xml-text.ts'

const Prefix = XmlText('Only objects whose key begins with this prefix are listed.', 'myPrefix')

const Tag = component('Tag', Type.Object({
  Key: XmlText('Tag key.', 'age'),
  Value: XmlText('Tag value.', '18')
}, { ...closed, description: 'A tag of an object.' }))

const Tags = Type.Array(Tag, { description: 'Only objects that have all of these tags are listed.' })

const StorageClass = XmlText('Only objects of this storage class are listed.', 'STANDARD')

const EpochSeconds = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'Seconds since 1970-01-01T00:00:00Z.',
  examples: [1687276800]
})

const Period = Type.Object({
  StartTime: Type.Optional(EpochSeconds),
  EndTime: Type.Optional(EpochSeconds)
}, { ...closed, description: 'Only objects of this time span are listed.' })

const flatConditions = {
  Prefix: Type.Optional(Prefix),
  Tag: Type.Optional(Tags),
  StorageClass: Type.Optional(StorageClass)
}
const besideAnd = Forbidden('is not allowed when And has conditions; use only one of the two forms')

const description = 'Conditions for the listed objects. Without a filter, all objects are listed.'
const flatFilter = Type.Object({ ...flatConditions, Period: Type.Optional(Period) }, { ...closed, description })

/** The filter of a configuration or job, in the flat form or the nested one of the COS SDKs. */
export const FilterInput = component('Filter', documentedAs(Type.Object({
  ...flatConditions,
  Period: Type.Optional(Period),
  And: Type.Optional(Type.Object(flatConditions, {
    ...closed,
    description: 'The nested form of the COS SDKs. Its members are read as members of Filter.'
  }))
}, {
  ...closed,
  description,
  if: {
    required: ['And'],
    properties: {
      And: { type: 'object', anyOf: Object.keys(flatConditions).map(name => ({ properties: { [name]: {} }, required: [name] })) }
    }
  },
  then: { properties: { And: {}, Period: {}, Prefix: besideAnd, Tag: besideAnd, StorageClass: besideAnd } }
}), flatFilter))
