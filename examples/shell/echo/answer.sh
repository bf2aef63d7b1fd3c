#!/bin/sh
# Reads one HTTP request from standard input and writes its answer to standard output.
set -eu
: >"$STATE/request.$$"
trap 'rm -f "$STATE/request.$$"' EXIT
# A caller that left is SIGPIPE: without a trap of its own the shell would end there and leave the file behind,
# which the end of the service waits for.
trap 'exit 1' HUP INT PIPE TERM
cr=$(printf '\r')
end="$cr
"
IFS=' ' read -r method target _ || exit 0

# What is passed on to requests made for this one (docs/contract.md), as arguments of curl, and the time left.
set --
left=10000
while IFS= read -r line && line=${line%"$cr"} && [ -n "$line" ]; do
  case $line in
    [Tt]race[Pp]arent:* | [Tt]race[Ss]tate:* | [Bb]3:* | [Xx]-[Bb]3-*:* | [Bb]aggage:* | \
      [Xx]-[Rr]equest-[Ii]d:* | [Xx]-[Oo]utrigger-[Aa]ttempt:*) set -- "$@" --header "$line" ;;
    [Xx]-[Oo]utrigger-[Dd]eadline-[Mm]s:*)
      told=$(printf %s "${line#*:}" | tr -d ' \t')
      case $told in
        '' | *[!0-9]* | ??????????*) ;;
        *)
          [ "$told" -ge "$left" ] || left=$told
          set -- "$@" --header "x-outrigger-deadline-ms: $left"
          ;;
      esac
      ;;
  esac
done

# STATUS TYPE BODY [HEADER…], each header ending in CR LF
answer() {
  printf 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nX-Served-By: %s\r\nConnection: close\r\n%s\r\n%s' \
    "$1" "$2" "${#3}" "$INSTANCE_ID" "${4-}" "$3"
}

object() { # STATUS MEMBERS [HEADER…]
  answer "$1" application/json "{$2\"served_by\":\"$INSTANCE_ID\"}" "${3-}"
}

ask() { # SERVICE [ARGUMENT OF CURL…]
  service=$1
  shift
  [ "$left" -gt 0 ] || { object '504 Gateway Timeout' '"error":"deadline",'; return; }
  url=$(printenv "$(printf %s "$service" | tr 'a-z-' 'A-Z_')_URL") || url=http://$service
  code=0
  # curl obeys http_proxy by itself: beside a sidecar the name is all it needs.
  below=$(curl --silent --output /dev/null --max-time "$((left / 1000)).$(printf %03d $((left % 1000)))" "$@" \
    --write-out '%{http_code}|%header{x-served-by}|%header{x-outrigger-reason}|%header{x-outrigger-attempts}|%header{retry-after}' \
    "$url/whoami") || code=$?
  IFS='|' read -r status by reason attempts after <<END
$below
END
  case $code:$status in
    0:200) object '200 OK' "\"service\":\"$service\",\"answered_by\":\"$by\"," ;;
    0:*) object "$status Failed" '"error":"a service below failed",' \
      "${reason:+X-Outrigger-Reason: $reason$end}${attempts:+X-Outrigger-Attempts: $attempts$end}${after:+Retry-After: $after$end}" ;;
    28:*) object '504 Gateway Timeout' '"error":"deadline",' ;;
    *) object '502 Bad Gateway' '"error":"a service below gave no answer",' ;;
  esac
}

path=${target%%\?*}
name=${path##*/}
case $method:$path in
  GET:/healthz)
    if [ -e "$STATE/draining" ]; then answer '503 Service Unavailable' text/plain draining; else answer '200 OK' text/plain ok; fi ;;
  GET:/whoami) object '200 OK' '"service":"echo",' ;;
  GET:/echo/*)
    case ${path#/echo/} in
      '' | *[!A-Za-z0-9._-]*) object '404 Not Found' '"error":"no such route",' ;;
      *) object '200 OK' "\"echo\":\"$name\"," ;;
    esac ;;
  GET:/ask/*)
    case ${path#/ask/} in
      [!a-z]* | '' | *[!a-z0-9-]*) object '404 Not Found' '"error":"no such route",' ;;
      *) ask "$name" "$@" ;;
    esac ;;
  *) object '404 Not Found' '"error":"no such route",' ;;
esac
