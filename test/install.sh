#!/usr/bin/env bash
# The browser test needs Chromium, which it looks up by the same names. Other tests need a real Redis, a real nginx,
# faketime, curl, jq, Go and Python with requests for the examples of the documentation, and promtool, which Debian has
# in prometheus.
set -euo pipefail

missing=()
found=
for name in "${CHROMIUM_PATH:-}" chromium chromium-browser google-chrome google-chrome-stable; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then found=$name; break; fi
done
[ -n "$found" ] || missing+=(chromium)
command -v curl >/dev/null || missing+=(curl)
command -v jq >/dev/null || missing+=(jq)
command -v go >/dev/null || missing+=(golang-go)
python3 -c 'import requests' 2>/dev/null || missing+=(python3 python3-requests)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v faketime >/dev/null || missing+=(faketime)
command -v promtool >/dev/null || missing+=(prometheus)
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || missing+=(nginx-light)
[ ${#missing[@]} = 0 ] || exec "$(dirname "$0")/../.ci/apt-install" "${missing[@]}"
