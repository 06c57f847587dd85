import { VariableReader } from './variable-reader.ts'
import type { Environment, ValueIn } from './variable-reader.ts'
import { variables } from './variables.ts'

export { ConfigError } from './variable-reader.ts'
export type { Environment } from './variable-reader.ts'

/** The name of a configuration variable. */
export type VariableName = keyof typeof variables

/** The value that {@link EnvironmentReader} returns for a variable. */
export type ValueOf<N extends VariableName> = ValueIn<typeof variables, N>

/** Reads all variables of the service. */
export class EnvironmentReader extends VariableReader<typeof variables> {
  constructor (environment: Environment) {
    super(variables, environment)
  }
}
