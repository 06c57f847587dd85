import { markdownLanguage } from './eslint.language.js'

export default {
  globs: ['**/*.md'],
  ignores: ['node_modules', 'dist', '.tap'],
  customRules: [markdownLanguage],
  config: {
    // Tables and code may be longer.
    MD013: { line_length: 120, tables: false, code_blocks: false },
    // gofmt indents with tabs, and programs print tables with them.
    MD010: { ignore_code_languages: ['go', 'console'] },
    MD024: { siblings_only: true },
    // A template of GitHub has no title.
    MD041: false
  }
}
