//! Where the program's own log goes: stderr, and only what was asked for.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log; `OUTRIGGER_LOG` says what is wanted, in the form of `RUST_LOG`: a level, or
/// `target=level` with commas between. What cannot be read is as if nothing were asked for.
pub(crate) fn start() {
    let wanted = std::env::var("OUTRIGGER_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let Some(wanted) = wanted else { return };
    let wanted: Targets = wanted;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start, in a test, changes nothing.
    let _ = tracing_subscriber::registry().with(lines).with(wanted).try_init();
}
