import { execFileSync } from 'node:child_process'
import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'

/** Starts Chromium without a window, and without requests of its own. */
export async function launchChromium (): Promise<Browser> {
  return await chromium.launch({
    executablePath: findChromium(),
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'
    ]
  })
}

function findChromium (): string {
  const names = [process.env['CHROMIUM_PATH'], 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  for (const name of names) {
    if (name === undefined || name === '') continue
    try {
      return execFileSync('sh', ['-c', 'command -v "$1"', 'sh', name], { encoding: 'utf8' }).trim()
    } catch {}
  }
  throw new Error('There is no Chromium: install it, run test/install.sh, or set CHROMIUM_PATH.')
}
