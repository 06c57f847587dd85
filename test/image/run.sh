#!/usr/bin/env bash
# Builds the images of the Dockerfile and runs them as in docker-compose.yml and on a distroless base. podman needs no
# daemon, and a locally made base image needs no image registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
export npm_config_loglevel=error

if [ "$(id -u)" != 0 ]; then
  echo 'The image test needs root, because it creates network namespaces.' >&2
  exit 1
fi
for command in podman podman-compose runc iptables ip; do
  command -v "$command" >/dev/null && continue
  .ci/apt-install podman podman-compose runc netavark aardvark-dns iptables iproute2
  break
done
base=$(bash test/image/base.sh)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM
# runc works on hosts with both cgroup versions, crun does not. The limits are set, because podman would raise them,
# which needs more rights.
cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$work/libpod"
[network]
network_config_dir = "$work/networks"
END
cat >"$work/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
END
# Short names of the Dockerfile refer to local images, so no registry is contacted.
echo 'unqualified-search-registries = []' >"$work/registries.conf"
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
export CONTAINERS_REGISTRIES_CONF=$work/registries.conf
export TMPDIR=$work

# All processes, mounts and routes end with these namespaces, also when this script fails.
inside=(unshare --mount --pid --fork --kill-child --mount-proc)
"${inside[@]}" bash test/image/build.sh "$base"
"${inside[@]}" --net bash test/image/check.sh
