# The steps of .ci/run, one function each. Every one runs in its own shell with `set -euo pipefail`, at the top of the checkout,
# without standard input. `return "$skipped"` says that it could not run here; its last line says why.

# In CI the lock file is not touched and nothing uncommitted is packaged; on a laptop both may be on their way.
locked=() dirty=(--allow-dirty)
if [ "${CI-}" = true ]; then locked=(--locked) dirty=(); fi

skip() {
  echo "SKIPPED, LOUDLY: $*"
  return "$skipped"
}

# A gate's tool, installed when it is not there yet, and the paths of all that is.
tools() {
  [ $# -eq 0 ] || bash .ci/install "$@"
  eval "$(bash .ci/install --paths)"
}

# The publishable library crates, one a line.
libraries() {
  cargo metadata --no-deps --format-version 1 "${locked[@]}" | python3 -c '
import json, sys
for p in json.load(sys.stdin)["packages"]:
    if p["publish"] != [] and any("lib" in t["kind"] for t in p["targets"]):
        print(p["name"])' | sort
}

step_fmt() {
  cargo fmt --all --check
}

step_typos() {
  tools typos
  typos --format brief
}

step_lint() {
  cargo clippy --workspace --all-targets "${locked[@]}" -- -D warnings
}

# As a newcomer runs it, with nothing but Rust: without CI=true, tests of real parts say that they skip. Their turn is `e2e`.
step_test() {
  env -u CI cargo test --workspace "${locked[@]}"
}

step_demo() {
  [ -d crates/outrigger-cli ] || { skip "crates/outrigger-cli is missing"; return; }
  local answer=${TMPDIR:-/tmp}/outrigger-demo.$$.json code=0
  cargo build --release -p outrigger-cli "${locked[@]}"
  cargo run --release -p outrigger-cli "${locked[@]}" -- demo --for 20s --json >"$answer" || code=$?
  python3 .ci/check-demo "$answer" "$code"
  rm -f "$answer"
}

step_docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps "${locked[@]}"
}

step_deny() {
  tools deny
  cargo deny --all-features "${locked[@]}" check bans licenses sources
}

# Without --no-dev-deps, which rewrites the manifests while it runs: `check` of a library does not build its dev-dependencies, and
# this resolver does not let them switch features on.
step_features() {
  tools hack
  local packages=() name
  for name in $(libraries); do
    case $name in
      # Without a TLS provider these two say so and stop: they get one in every combination.
      outrigger | outrigger-consul) ;;
      *) packages+=(-p "$name") ;;
    esac
  done
  cargo hack check --each-feature "${packages[@]}" "${locked[@]}"
  cargo hack check --each-feature --features aws-lc-rs -p outrigger -p outrigger-consul "${locked[@]}"
  cargo check -p outrigger --no-default-features --features ring "${locked[@]}"
}

step_package() {
  cargo package --workspace --no-verify "${locked[@]}" "${dirty[@]}"
  python3 .ci/check-packages "$CARGO_TARGET_DIR/package"
}

step_bridge() {
  [ -d bridges/outrigger-consulrs ] || { skip "bridges/outrigger-consulrs is missing"; return; }
  openssl_headers
  tools
  # The registration part of the conformance suite runs on the real Consul wherever that is there.
  if [ -n "${OUTRIGGER_CONSUL_BIN-}" ] && [ -n "${OUTRIGGER_CONSUL_OLD_BIN-}" ]; then export OUTRIGGER_E2E=1; fi
  cd bridges/outrigger-consulrs
  cargo fmt --check
  cargo clippy --all-targets "${locked[@]}" -- -D warnings
  cargo test "${locked[@]}"
}

# The targets as a test, on this toolchain and in the shared target folder. libFuzzer is for whoever has nightly:
# `cd fuzz && cargo +nightly fuzz run --features libfuzzer TARGET`.
step_fuzz() {
  [ -d fuzz ] || { skip "fuzz is missing"; return; }
  cd fuzz
  cargo fmt --check
  cargo test "${locked[@]}" -- --nocapture
}

# consulrs links OpenSSL: its headers and pkg-config come from the system.
openssl_headers() {
  pkg-config --exists openssl 2>/dev/null && return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "libssl-dev and pkg-config are needed" >&2; return 1; }
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends libssl-dev pkg-config
}

step_parts() {
  [ -d crates/outrigger-e2e ] || { skip "crates/outrigger-e2e is missing: nothing needs the parts"; return; }
  bash .ci/install # waits for the one that started with the gate
}

# The services of examples/ that are not Rust. What writes beside its sources runs on a copy: the checkout stays as it is.
step_fleet() {
  tools fleet-go fleet-python fleet-java socat
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -R examples "$work/"
  cd "$work/examples/go/inventory"
  [ -z "$(gofmt -l .)" ] || { gofmt -d .; return 1; }
  go vet ./...
  go test ./...
  echo "ok: go"
  cd "$work/examples/python/pricing"
  "$OUTRIGGER_FLEET_PYTHON" -m ruff format --check .
  "$OUTRIGGER_FLEET_PYTHON" -m ruff check .
  "$OUTRIGGER_FLEET_PYTHON" -m mypy
  "$OUTRIGGER_FLEET_PYTHON" -m pytest -q
  echo "ok: python"
  cd "$work/examples/node/storefront"
  npm ci --no-audit --no-fund
  npm test
  npm run check
  echo "ok: node"
  cd "$work/examples/java/billing"
  mvn -B -q -Dstyle.color=never test
  echo "ok: java"
  cd "$work/examples/shell/echo"
  PATH=$(dirname "$OUTRIGGER_SOCAT_BIN"):$PATH sh test.sh
  echo "ok: shell"
}

step_e2e() {
  [ -d crates/outrigger-e2e ] || { skip "crates/outrigger-e2e is missing"; return; }
  tools
  echo "consul: $OUTRIGGER_CONSUL_BIN; oldest: $OUTRIGGER_CONSUL_OLD_BIN; jaeger: $OUTRIGGER_JAEGER_BIN"
  export OUTRIGGER_E2E=1
  # With what they print: each tells its figure.
  cargo test -p outrigger-e2e "${locked[@]}" -- --test-threads 1 --nocapture
  cargo test -p outrigger-consul --test real_agent "${locked[@]}" -- --test-threads 1
  # nginx and Envoy are asked what they make of the same bytes.
  cargo test -p outrigger-http --test smuggling --test floods "${locked[@]}" -- --test-threads 1 --nocapture
}

step_compose() {
  [ -f docker-compose.yml ] || { skip "docker-compose.yml is missing"; return; }
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    { skip "a Docker engine is started by root on Debian only"; return; }
  tools
  bash .ci/compose
}

step_bench() {
  # Instructions are counted by valgrind; a benchmark that needs it says that it skips.
  if ! command -v valgrind >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends valgrind >/dev/null
  fi
  bash .ci/bench --quick
}

step_clean() {
  [ "${CI-}" = true ] || { skip "only in CI: a laptop's checkout may be dirty"; return; }
  local changed
  changed=$(git status --porcelain)
  [ -z "$changed" ] || { printf 'the steps left changes behind:\n%s\n' "$changed"; return 1; }
}
