//! `outrigger policy schema`: what editors complete from.

use serde_json::Value;

use super::Ended;
use crate::{Exit, print};

/// Prints the JSON Schema of a policy.
pub(super) fn run() -> Result<Exit, Ended> {
    let schema: Value = outrigger_policy::schema();
    print::result(&super::pretty(&schema));
    Ok(Exit::Done)
}
