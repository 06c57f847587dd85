#!/usr/bin/env bash
# Part of run.sh. Runs the images in a network namespace without other programs.
set -Eeuo pipefail
mount -t tmpfs tmpfs /run
ip link set lo up
export DISABLE_HC_SYSTEMD=true   # this script runs the health checks, not systemd

trap 'podman ps --all --quiet | xargs --no-run-if-empty --max-args 1 podman logs --tail 20' ERR

ok() { echo "ok - $*"; }
state() { podman inspect --format "{{$2}}" "$1"; }
equal() {
  [ "$2" = "$3" ] && return
  echo "not ok - $1: $2, not $3"
  return 1
}

check_contents() {
  local root
  root=$(podman image mount "$1")
  node test/image/contents.mjs "$root/app" "${@:2}"
  ok "$1 contains runtime files only: $(du -sm "$root" | cut -f1) MB, of which node_modules $(du -sm "$root/app/node_modules" | cut -f1) MB"
}

check_labels() {   # image, title
  local label='{{index .Config.Labels "org.opencontainers.image.%s"}}' name value
  for name in title description licenses version revision created base.name; do
    # shellcheck disable=SC2059
    value=$(podman image inspect --format "$(printf "$label" "$name")" "$1")
    case $name in
      title) equal "$1: $name" "$value" "$2" ;;
      version) equal "$1: $name" "$value" "$(node -p 'JSON.parse(fs.readFileSync("package.json")).version')" ;;
      revision) equal "$1: $name" "$value" "$(git rev-parse HEAD)" ;;
      created) equal "$1: $name" "$(date --date "$value" +%s)" "$(git log -1 --format=%ct)" ;;
      *) [ -n "$value" ] ;;
    esac
  done
  ok "$1 has the labels of the Open Container Initiative"
}

check_health_check_fails() {   # image, options of podman run: no program listens in this container
  local command status=0
  mapfile -t command < <(podman image inspect --format '{{range .HealthCheck.Test}}{{println .}}{{end}}' "$1")
  podman run --rm --network none "${@:2}" --entrypoint "${command[1]}" "$1" "${command[@]:2:2}" || status=$?
  equal "$1: status of the health check without a listener" "$status" 1
}

until_listening() {   # container: waits for the log line
  timeout 30 grep --quiet --max-count 1 'Server listening' < <(podman logs --follow "$1" 2>&1 || true)
}

check_running() {
  local status
  status=/proc/$(state "$1" .State.Pid)/status
  equal "$1: user" "$(awk '/^Uid:/ { print $2 }' "$status")" 65532
  equal "$1: capabilities" "$(awk '/^Cap(Eff|Prm|Bnd):/ { print $2 }' "$status" | sort -u)" 0000000000000000
  equal "$1: no new privileges" "$(awk '/^NoNewPrivs:/ { print $2 }' "$status")" 1
  equal "$1: read-only root" "$(state "$1" .HostConfig.ReadonlyRootfs)" true
  podman healthcheck run "$1"
  ok "$1 is healthy without root, capabilities or a writable root file system"
}

check_stop() {
  podman stop --time 20 "$1" >/dev/null
  equal "$1: exit code after SIGTERM" "$(state "$1" .State.ExitCode)" 0
  ok "$1 exits on SIGTERM"
}

check_contents cos-inventory-proxy server.js '!emulator' '!client' '!demo.js' '!docs.js' '!openapi.js'
check_contents cos-inventory-proxy-emulator emulator '!server.js'
check_contents service-distroless server.js '!emulator'
check_labels cos-inventory-proxy cos-inventory-proxy
check_labels cos-inventory-proxy-emulator 'cos-inventory-proxy emulator'
check_health_check_fails cos-inventory-proxy --env AUTH=none --env AUTH_NONE_ANYWHERE=true \
  --env COS_SECRET_ID=imageTestId --env COS_SECRET_KEY=imageTestKey
check_health_check_fails cos-inventory-proxy-emulator

if ! PORT=8080 podman-compose --project-name compose up --detach --no-build service emulator >"$TMPDIR/log" 2>&1; then
  cat "$TMPDIR/log"
  exit 1
fi
until_listening compose_service_1
node test/image/drive.mjs http://127.0.0.1:8080
ok 'PUT and GET through docker-compose.yml'
for container in compose_service_1 compose_emulator_1; do
  check_running "$container"
  check_stop "$container"
done

# This run is stricter than compose: there is no shell, and /tmp is read-only.
confined=(--detach --network host --read-only --read-only-tmpfs=false --cap-drop ALL --security-opt no-new-privileges)
podman run "${confined[@]}" --name emulator --env EMULATOR_PORT=9100 --env EMULATOR_KEYS=imageTestId:imageTestKey \
  emulator-distroless >/dev/null
started=$(date +%s%N)
podman run "${confined[@]}" --name service --env PORT=8100 --env AUTH=none --env AUTH_NONE_ANYWHERE=true \
  --env COS_SCHEME=http --env COS_CONNECT_TO=127.0.0.1:9100 --env COS_REGION=ap-guangzhou \
  --env COS_SECRET_ID=imageTestId --env COS_SECRET_KEY=imageTestKey service-distroless >/dev/null
until_listening service
echo "# the service listens $((($(date +%s%N) - started) / 1000000)) ms after podman run"
node test/image/drive.mjs http://127.0.0.1:8100
ok 'PUT and GET through distroless images on other ports'
for container in service emulator; do
  check_running "$container"
  check_stop "$container"
done
