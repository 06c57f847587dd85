import tseslint from 'typescript-eslint'

/** Who owns shared state (docs/architecture.md). The rules need no types, so that a test can break them quickly. */
export const ownership = [
  {
    files: ['src/**/*.ts'],
    ignores: ['src/http/context/**'],
    rules: {
      'no-restricted-syntax': ['error', {
        selector: 'TSModuleDeclaration[id.value="fastify"]',
        message: 'The state of a request belongs to src/http/context.'
      }, {
        selector: 'CallExpression[callee.property.name="decorateRequest"]',
        message: 'The state of a request belongs to src/http/context.'
      }]
    }
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/http/connections/**', 'src/emulator/**'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-restricted-types': ['error', {
        types: {
          Socket: 'The state of a connection belongs to src/http/connections.',
          IncomingMessage: 'The state of a connection belongs to src/http/connections.',
          ServerResponse: 'The state of a connection belongs to src/http/connections.'
        }
      }]
    }
  }
]
