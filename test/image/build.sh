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

build() {
  if ! podman build --quiet --format docker --pull=never --isolation chroot "${volumes[@]}" "$@" >"$TMPDIR/log" 2>&1; then
    cat "$TMPDIR/log" >&2
    exit 1
  fi
}

podman import --quiet "$1" "localhost/$(sed -n 's/^ARG NODE_BUILD_IMAGE=//p' Dockerfile)" >/dev/null
build --tag cos-inventory-proxy .
build --tag cos-inventory-proxy-emulator --target emulator .
build --tag distroless --file test/image/distroless.Dockerfile test/image
build --tag service-distroless --build-arg NODE_RUN_IMAGE=localhost/distroless .
build --tag emulator-distroless --build-arg NODE_RUN_IMAGE=localhost/distroless --target emulator .
