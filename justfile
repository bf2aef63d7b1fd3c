# Every recipe is one plain command: without `just`, type the line yourself. `.ci/install just` brings it.

# What is here
default:
    @just --list

# Everything that needs no real Consul, as CI does it
check:
    .ci/run quick

# The whole gate, as CI runs it
ci:
    .ci/run

# Unit, property and layer tests
test *ARGS:
    cargo test --workspace {{ ARGS }}

# End to end on the real Consul (newest and oldest) and Jaeger
e2e:
    .ci/run parts e2e

# docker-compose.yml on a private Docker engine
compose:
    .ci/run parts compose

# The fleet under trouble, on this laptop
demo *ARGS:
    cargo run --release -p outrigger-cli -- demo {{ ARGS }}

# The end-to-end tests in their long forms
soak:
    OUTRIGGER_SOAK=1 .ci/run parts e2e

# Every fuzz target: its corpus, then RUNS mutations of it (the gate's are fewer; another seed makes others)
fuzz RUNS="100000" SEED="1":
    cd fuzz && OUTRIGGER_FUZZ_RUNS={{ RUNS }} OUTRIGGER_SEED={{ SEED }} cargo test --release -- --nocapture

# Breaks the pure rules on purpose and looks whether a test notices (`cargo install cargo-mutants --locked`)
mutants *ARGS:
    cargo mutants {{ ARGS }}

# Every benchmark, in one run, beside its peers and budgets
bench *ARGS:
    .ci/bench {{ ARGS }}

# The guide and the reference
doc:
    cargo doc --workspace --no-deps --open

fmt:
    cargo fmt --all

# The real parts, pinned, into a cache outside the checkout
install *PARTS:
    .ci/install {{ PARTS }}
