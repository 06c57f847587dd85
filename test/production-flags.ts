import { readFileSync } from 'node:fs'

const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { scripts: { start: string } }

/** The V8 flags of `npm start` and of the image. The memory of a busy service depends on them. */
export const productionFlags = scripts.start.split(' ').filter(word => word.startsWith('--'))
