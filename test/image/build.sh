#!/usr/bin/env bash
# Part of run.sh. Builds both targets on the base images of the Dockerfile and on a distroless one.
set -euo pipefail

# The npm settings of this machine are mounted, so that they do not become part of an image.
volumes=()
mount_at() { if [ -f "$1" ]; then volumes+=(--volume "$1:$2:ro"); fi; }
mount_at "$(npm config get globalconfig)" /usr/local/etc/npmrc
mount_at "$(npm config get userconfig)" /root/.npmrc
cafile=$(npm config get cafile)
mount_at "$cafile" "$cafile"

# The command of docs/release.md has the same arguments.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
reproducible=(--timestamp "$SOURCE_DATE_EPOCH" --build-arg "REVISION=$(git rev-parse HEAD)"
  --build-arg "CREATED=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%FT%TZ)")

build() {
  if ! podman build --quiet --format docker --pull=never --isolation chroot "${volumes[@]}" "$@" >"$TMPDIR/log" 2>&1; then
    cat "$TMPDIR/log" >&2
    exit 1
  fi
}

podman import --quiet "$1" "localhost/$(sed -n 's/^ARG NODE_BUILD_IMAGE=//p' Dockerfile)" >/dev/null
build --tag cos-inventory-proxy "${reproducible[@]}" .
build --tag cos-inventory-proxy-emulator --target emulator "${reproducible[@]}" .
build --tag distroless --file test/image/distroless.Dockerfile test/image
build --tag service-distroless --build-arg NODE_RUN_IMAGE=localhost/distroless .
build --tag emulator-distroless --build-arg NODE_RUN_IMAGE=localhost/distroless --target emulator .

build --tag rebuilt --no-cache "${reproducible[@]}" .
layers_of() { podman image inspect --format '{{.RootFS.Layers}}' "$1"; }
if [ "$(layers_of cos-inventory-proxy)" != "$(layers_of rebuilt)" ]; then
  echo 'not ok - two builds of one commit have different layers' >&2
  exit 1
fi
echo 'ok - two builds of one commit have the same layers'
