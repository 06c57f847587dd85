#!/usr/bin/env bash
# The browser test needs Chromium; it looks the same names up.
set -euo pipefail

for name in "${CHROMIUM_PATH:-}" chromium chromium-browser google-chrome google-chrome-stable; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then exit; fi
done
exec "$(dirname "$0")/../.ci/apt-install" chromium
