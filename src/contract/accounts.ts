/** The form of the accounts file. Descriptions complete a sentence that begins with "must be". */
import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { closed } from './schema.ts'

/** The account of the buckets whose APPID has no account of its own. */
export const defaultAccount = 'default'

/** The name of an account: an APPID, or {@link defaultAccount}. */
export const accountNamePattern = /^(?:[0-9]{1,20}|default)$/

/** Each account has series of metrics and a watch of its files. */
const maxAccounts = 1000

const Text = (description: string) => Type.String({ minLength: 1, maxLength: 1024, description })

const RoleArn = Text('the role to assume, such as qcs::cam::uin/100000000001:roleName/inventory')

const Env = Type.Object({ source: Type.Literal('env') }, { ...closed, description: 'an object with source only' })

const File = Type.Object({
  source: Type.Literal('file'),
  path: Text('the path of a credentials file')
}, { ...closed, description: 'an object with source and path' })

const CvmRole = Type.Object({ source: Type.Literal('cvm-role') }, {
  ...closed, description: 'an object with source only'
})

const Oidc = Type.Object({
  source: Type.Literal('oidc'),
  region: Type.Optional(Text('the region of the STS call')),
  providerId: Type.Optional(Text('the name of an identity provider')),
  tokenFile: Type.Optional(Text('the path of the file with the token of the pod')),
  roleArn: Type.Optional(RoleArn)
}, { ...closed, description: 'an object with source' })

/** The sources that need no other one, by name. */
export const baseSchemas = { env: Env, file: File, 'cvm-role': CvmRole, oidc: Oidc }

/** A source that needs no other one. */
export type BaseSource = Static<typeof baseSchemas[keyof typeof baseSchemas]>

const AssumeRole = Type.Object({
  source: Type.Literal('assume-role'),
  roleArn: RoleArn,
  sessionName: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9_+=,.@-]{2,128}$',
    description: '2 to 128 letters, digits or _+=,.@-'
  })),
  // Validated with the schema of its source, so that every issue is named.
  base: Type.Optional(Type.Unsafe<BaseSource>(Type.Unknown()))
}, { ...closed, description: 'an object with source and roleArn' })

/** All sources by name. */
export const sourceSchemas = { ...baseSchemas, 'assume-role': AssumeRole }

/** The source of the credentials of an account. */
export type AccountSource = BaseSource | Static<typeof AssumeRole>

/** The document of `COS_ACCOUNTS_FILE`. Its members are validated with {@link sourceSchemas}. */
export const AccountsFileSchema = Type.Object({
  accounts: Type.Object({}, {
    minProperties: 1,
    maxProperties: maxAccounts,
    description: `an object with 1 to ${maxAccounts} accounts`
  })
}, { ...closed, description: 'an object with accounts' })

/** A valid document. */
export interface AccountsFile {
  accounts: Record<string, AccountSource>
}
