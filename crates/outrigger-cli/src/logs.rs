//! Where the program's own log goes: stderr, and only what was asked for.

use tracing_subscriber::EnvFilter;

/// Starts the log; `OUTRIGGER_LOG` says what is wanted, in the form of `RUST_LOG`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("OUTRIGGER_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    // A second start, in a test, changes nothing.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
