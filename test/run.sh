#!/usr/bin/env bash
# Runs a group of tests: unit, contract, e2e, faults or all. Further arguments go to tap.
#
# unit      functions: no build, no packages
# contract  the service and the emulator in the process of the test, and a real Redis
# e2e       built programs, a browser, nginx, promtool, faketime, Go, Python
# faults    processes under faults, load and hostile input, one at a time; FAULTS=full for the long form
# all       every test, and coverage of src must be complete. RUNS=1 gives properties all their runs, not a fifth.
set -euo pipefail
cd "$(dirname "$0")/.."
group=$1
shift

options=()
# tap's own reporter draws on a terminal.
[ -t 1 ] || options+=(--reporter=./test/progress.js)

# A run that builds tap with the plugins of .taprc, as the first one would, still compiles TypeScript in each process.
if grep -q '@tapjs/typescript' node_modules/@tapjs/test/test-built/dist/esm/index.js; then node_modules/.bin/tap build; fi

tap() { node_modules/.bin/tap "${options[@]}" "$@"; }

if [ "$group" != unit ]; then
  bash test/install.sh
  node --import ./test/strip-types.js test/e2e/build.ts
fi
case $group in
  unit) tap --disable-coverage "$@" test/unit/*.test.ts ;;
  contract) tap --disable-coverage "$@" test/{contract,emulator}/*.test.ts ;;
  e2e) tap --disable-coverage "$@" test/{e2e,deploy}/*.test.ts test/*.test.ts ;;
  # One at a time, because the long form measures times.
  faults) tap --disable-coverage --jobs=1 "$@" test/{faults,fuzz}/*.test.ts ;;
  all) tap "$@" test/*/*.test.ts test/*.test.ts ;;
  *) echo "Unknown group of tests: $group" >&2; exit 2 ;;
esac
