// Lets Node run the TypeScript of tests and src. Node 22.18 and newer need no help.
import { register } from 'node:module'

if (!process.features.typescript) register('./strip-types-hooks.js', import.meta.url)
// tap enables source maps, and Node then reads those of all packages. Lines are right without them.
process.setSourceMapsEnabled(false)
