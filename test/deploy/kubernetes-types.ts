import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** A document of a manifest. */
export interface KubernetesDocument {
  apiVersion: string
  kind: string
  metadata: { name: string }
}

/** In the project, so that packages are found from there; it is never written. */
const path = fileURLToPath(new URL('documents.ts', import.meta.url))

/**
 * Checks documents against the types that kubernetes-types makes of Kubernetes' own OpenAPI description. An object
 * literal with a property that its type does not have is a fault to the compiler, which is how misspelt keys are found.
 *
 * @returns each fault, in the compiler's words
 */
export function typeFaults (documents: KubernetesDocument[]): string[] {
  const source = documents.map((document, index) => {
    const { apiVersion, kind } = document
    const module = (apiVersion.includes('/') ? apiVersion : `core/${apiVersion}`).replace('.k8s.io/', '/')
    return `import type { ${kind} as Type${index} } from 'kubernetes-types/${module}'\n` +
      `export const document${index}: Type${index} = ${JSON.stringify(document, null, 2)}\n`
  }).join('')
  const options: ts.CompilerOptions = {
    noEmit: true,
    strict: true,
    types: [],
    // Reading more of the language's own types takes most of the time.
    lib: ['lib.es5.d.ts'],
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler
  }
  const host = ts.createCompilerHost(options)
  const { getSourceFile } = host
  host.getSourceFile = (name, ...rest) => name === path
    ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2023)
    : getSourceFile(name, ...rest)
  const program = ts.createProgram([path], options, host)
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))
}
