#!/bin/sh
# The echo service of the demo fleet: socat takes connections, answer.sh answers each.
# Port, peers and name come from the environment.
set -eu
cd "$(dirname "$0")"
export PORT="${PORT:-8086}" INSTANCE_ID="${INSTANCE_ID:-echo-$(uname -n)-${PORT:-8086}}"

# One file for each request in flight, and one that says that this instance leaves.
STATE=$(mktemp -d)
export STATE
socat "TCP-LISTEN:$PORT,bind=${HOST:-127.0.0.1},reuseaddr,fork,backlog=256" EXEC:./answer.sh &
listener=$!

leave() {
  : >"$STATE/draining"
  # Beside a sidecar 0 is right: callers were told before the signal came.
  sleep "${DRAIN_NOTICE:-0}"
  kill "$listener" 2>/dev/null || :
}
trap leave TERM INT
echo "echo $INSTANCE_ID listens on ${HOST:-127.0.0.1}:$PORT" >&2

# `wait` returns for a signal too, before socat has ended.
ended=0
wait "$listener" || ended=$?
wait "$listener" 2>/dev/null || :
[ -e "$STATE/draining" ] || { rm -rf "$STATE"; exit "$ended"; }

# What is in flight has a process of its own each, which the end of socat does not touch.
patience=250
while [ "$patience" -gt 0 ] && ls "$STATE"/request.* >/dev/null 2>&1; do
  sleep 0.1
  patience=$((patience - 1))
done
rm -rf "$STATE"
