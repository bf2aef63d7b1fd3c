#!/bin/sh
# The tests of the echo service: `sh test.sh`, in the words of TAP. Needs socat and curl.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
count=0 failed=0
trap 'kill $pids 2>/dev/null || :; rm -rf "$scratch"' EXIT
pids=

is() { # WHAT GOT WANTED
  count=$((count + 1))
  if [ "$2" = "$3" ]; then echo "ok $count - $1"; else
    failed=$((failed + 1))
    printf 'not ok %d - %s\n# got:    %s\n# wanted: %s\n' "$count" "$1" "$2" "$3"
  fi
}

until_answers() { # PORT
  tries=100
  until curl --silent --output /dev/null "http://127.0.0.1:$1/"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "Bail out! nothing listens on $1"; exit 1; }
    sleep 0.05
  done
}

# A peer that plays what is in $scratch/play and keeps what it was asked.
cat >"$scratch/peer.sh" <<'END'
while IFS= read -r line && [ "$line" != "$(printf '\r')" ]; do printf '%s\n' "$line"; done >"$SCRATCH/asked"
. "$SCRATCH/play"
END
mkdir "$scratch/tmp"
export TMPDIR="$scratch/tmp" SCRATCH="$scratch" PORT=$((20000 + $$ % 10000)) INSTANCE_ID=echo-1
peer=$((PORT + 10000))
socat "TCP-LISTEN:$peer,bind=127.0.0.1,reuseaddr,fork" "EXEC:sh $scratch/peer.sh" &
pids="$pids $!"
echo "printf 'HTTP/1.1 200 OK\r\nX-Served-By: inventory-2\r\nContent-Length: 0\r\n\r\n'" >"$scratch/play"
export INVENTORY_URL="http://127.0.0.1:$peer"
sh server.sh 2>/dev/null &
server=$!
pids="$pids $server"
until_answers "$PORT"
until_answers "$peer"
get() { path=$1; shift; curl --silent --max-time 5 "$@" "http://127.0.0.1:$PORT$path"; }
status() { path=$1; shift; get "$path" --output /dev/null --write-out '%{http_code}' "$@"; }

is 'a word comes back with who served it' "$(get /echo/hello)" '{"echo":"hello","served_by":"echo-1"}'
is 'the header tells it too' "$(get /echo/x --output /dev/null --write-out '%header{x-served-by}')" echo-1
is 'it names itself' "$(get /whoami)" '{"service":"echo","served_by":"echo-1"}'
is 'health is ok while it serves' "$(get /healthz)" ok
for path in /echo/ /echo/a%22b /echo/a/b /ask/a.b /ask/..%2fetc /; do
  is "$path is no route" "$(status "$path")" 404
done
is 'asking a service tells which instance answered' \
  "$(get /ask/inventory -H 'TraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' -H 'x-secret: 1' -H 'x-outrigger-deadline-ms: 5000')" \
  '{"service":"inventory","answered_by":"inventory-2","served_by":"echo-1"}'
is 'the trace is passed on' "$(grep -ci '^traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' "$scratch/asked")" 1
is 'the deadline is passed on' "$(grep -ci '^x-outrigger-deadline-ms: 5000' "$scratch/asked")" 1
is 'its own name is what a service is asked for' "$(grep -c '^GET /whoami ' "$scratch/asked")" 1
is 'nothing else is' "$(grep -ci '^x-secret' "$scratch/asked" || :)" 0

echo "printf 'HTTP/1.1 503 No\r\nX-Outrigger-Reason: circuit_open\r\nX-Outrigger-Attempts: 2\r\nContent-Length: 0\r\n\r\n'" >"$scratch/play"
is 'a refusal below is answered with its reason and tries' \
  "$(get /ask/inventory --output /dev/null --write-out '%{http_code} %header{x-outrigger-reason} %header{x-outrigger-attempts}')" \
  '503 circuit_open 2'
is 'its head ends where a head ends' \
  "$(get /ask/inventory --include | tr '\r\n' '~|' | grep -c 'X-Outrigger-Attempts: 2~|~|{')" 1
echo 'sleep 3' >"$scratch/play"
is 'a deadline that passes is 504' "$(status /ask/inventory -H 'x-outrigger-deadline-ms: 100')" 504

echo 'sleep 1' >"$scratch/play"
curl --silent --max-time 0.3 --output /dev/null "http://127.0.0.1:$PORT/ask/inventory" || :
sleep 1.5
is 'a caller that left leaves nothing behind' "$(ls "$TMPDIR"/*/request.* 2>/dev/null | wc -l | tr -d ' ')" 0

echo "sleep 0.5; printf 'HTTP/1.1 200 OK\r\nX-Served-By: inventory-2\r\nContent-Length: 0\r\n\r\n'" >"$scratch/play"
status /ask/inventory >"$scratch/in-flight" &
asking=$!
sleep 0.2
kill -TERM "$server"
ended=0
wait "$server" || ended=$?
is 'SIGTERM ends it with 0' "$ended" 0
wait "$asking" || :
is 'what was in flight is answered' "$(cat "$scratch/in-flight")" 200
echo "1..$count"
exit "$failed"
