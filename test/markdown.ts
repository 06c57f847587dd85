import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../', import.meta.url)
const skipped = new Set(['node_modules', 'dist', 'coverage', '.git', '.tap'])

/** A fenced code block. */
export interface CodeBlock {
  /** Line of the opening fence, 1 for the first of the page. */
  line: number
  language: string
  /** Words after the language. */
  options: string[]
  text: string
}

/** Returns the paths of all Markdown files of the repository, relative to its root and sorted. */
export function markdownFiles (): string[] {
  const filesIn = (folder: string): string[] => readdirSync(new URL(folder, root), { withFileTypes: true })
    .filter(({ name }) => !skipped.has(name))
    .flatMap(entry => entry.isDirectory() ? filesIn(`${folder}${entry.name}/`) : [`${folder}${entry.name}`])
  return filesIn('./').filter(path => path.endsWith('.md')).map(path => path.slice('./'.length)).sort()
}

/** Returns the text of a file of the repository. */
export function readPage (path: string): string {
  return readFileSync(new URL(path, root), 'utf8')
}

/** Returns the absolute path of a file of the repository. */
export function pathInRepository (path: string): string {
  return fileURLToPath(new URL(path, root))
}

const fence = /^( *)(`{3,})([^\n`]*)\n(.*?)^ *\2`* *$/gms

/** Returns the fenced code blocks of a page. */
export function codeBlocks (markdown: string): CodeBlock[] {
  return [...markdown.matchAll(fence)].map(([, indent = '', , info = '', text = ''], index, all) => {
    const [language = '', ...options] = info.trim().split(/\s+/)
    const line = markdown.slice(0, all[index]?.index).split('\n').length
    return { line, language, options, text: text.replace(new RegExp(`^${indent}`, 'gm'), '') }
  })
}

/** Returns a page in which the lines of code blocks are empty, so that line numbers stay the same. */
export function withoutCode (markdown: string): string {
  return markdown.replace(fence, block => block.replace(/[^\n]+/g, ''))
}
