#!/usr/bin/env bash
# The browser test needs Chromium under one of these names. Other tests need Redis, nginx, faketime and promtool, which
# is in the Debian package prometheus.
set -euo pipefail

missing=()
found=
for name in "${CHROMIUM_PATH:-}" chromium chromium-browser google-chrome google-chrome-stable; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then found=$name; break; fi
done
[ -n "$found" ] || missing+=(chromium)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v faketime >/dev/null || missing+=(faketime)
command -v promtool >/dev/null || missing+=(prometheus)
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || missing+=(nginx-light)
[ ${#missing[@]} = 0 ] || exec "$(dirname "$0")/../.ci/apt-install" "${missing[@]}"
