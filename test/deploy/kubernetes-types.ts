import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** A document of a manifest. */
export interface KubernetesDocument {
  apiVersion: string
  kind: string
  metadata: { name: string }
}

/** The path lies in the project, so that the compiler finds packages. The file is never written. */
const path = fileURLToPath(new URL('documents.ts', import.meta.url))

/**
 * Checks documents against the types that kubernetes-types generates from the OpenAPI description of Kubernetes. The
 * compiler reports properties that a type does not have, so it finds misspelled keys.
 *
 * @returns the error messages of the compiler
 */
export function typeErrors (documents: KubernetesDocument[]): string[] {
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
    // Loading fewer types of the language saves most of the time.
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
