#!/usr/bin/env bash
# The browser test needs Chromium, which it looks up by the same names, and the rate limit's test a real Redis.
set -euo pipefail

missing=()
found=
for name in "${CHROMIUM_PATH:-}" chromium chromium-browser google-chrome google-chrome-stable; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then found=$name; break; fi
done
[ -n "$found" ] || missing+=(chromium)
command -v redis-server >/dev/null || missing+=(redis-server)
[ ${#missing[@]} = 0 ] || exec "$(dirname "$0")/../.ci/apt-install" "${missing[@]}"
