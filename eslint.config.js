import neostandard from 'neostandard'
import tseslint from 'typescript-eslint'
import { language } from './eslint.language.js'
import { ownership } from './eslint.ownership.js'

export default [
  { ignores: ['dist/', '.tap/', 'coverage/', 'src/client/openapi.ts'] },
  ...neostandard({ ts: true }),
  {
    rules: {
      '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
      'no-void': ['error', { allowAsStatement: true }]
    }
  },
  {
    files: ['src/**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'max-lines': ['error', 250],
      'max-lines-per-function': ['error', 60],
      'n/no-process-env': 'error',
      'no-console': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/await-thenable': 'error'
    }
  },
  ...ownership,
  ...language,
  {
    files: ['src/server.ts', 'src/demo.ts', 'src/health-check.ts', 'src/check.ts', 'src/emulator/main.ts', 'src/openapi.ts'],
    rules: { 'n/no-process-env': 'off', 'no-console': 'off' }
  }
]
