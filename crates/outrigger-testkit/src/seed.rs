//! Random tests that can be run again.

use std::env;
use std::panic::{self, AssertUnwindSafe};

/// Runs a random test once; when it panics, tells the seed to run it with again.
///
/// The seed is `OUTRIGGER_SEED` where that is set, else a new one.
///
/// # Panics
/// When `test` does.
pub fn with_seed(test: impl FnOnce(u64)) {
    let given = env::var("OUTRIGGER_SEED").ok().and_then(|seed| seed.trim().parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| test(seed)));
    if let Err(cause) = ended {
        #[expect(clippy::print_stderr, reason = "who runs the test has to read it")]
        {
            eprintln!("run it again with OUTRIGGER_SEED={seed}");
        }
        panic::resume_unwind(cause);
    }
}
