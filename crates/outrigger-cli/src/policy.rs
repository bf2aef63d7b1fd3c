//! `outrigger policy`: everything that an owner does with policies, from checking to rolling back.

mod check;
mod diff;
mod ended;
mod explain;
mod fmt;
mod history;
pub(crate) mod input;
mod kept;
mod push;
mod schema;
mod store;
mod test;
mod write;

use serde_json::Value;

use crate::Exit;
use crate::cli::policy::PolicyCommand;

pub(crate) use ended::Ended;

/// Runs one of the commands, and says why when it ends early.
pub(crate) async fn run(command: PolicyCommand) -> Exit {
    let ended = match command {
        PolicyCommand::Check(arguments) => check::run(&arguments),
        PolicyCommand::Fmt(arguments) => fmt::run(&arguments),
        PolicyCommand::Schema => schema::run(),
        PolicyCommand::Diff(arguments) => diff::run(&arguments),
        PolicyCommand::Explain(arguments) => explain::run(&arguments),
        PolicyCommand::Test(arguments) => test::run(&arguments),
        PolicyCommand::Push(arguments) => push::run(&arguments).await,
        PolicyCommand::Pull(arguments) => history::pull(&arguments).await,
        PolicyCommand::History(arguments) => history::list(&arguments).await,
        PolicyCommand::Rollback(arguments) => history::roll_back(&arguments).await,
    };
    ended.unwrap_or_else(|ended| ended.say())
}

/// Whether policies hold, as whoever obeys them reads them; prints what is wrong with them.
pub(crate) fn hold(names: &[String]) -> bool {
    let files = match input::expand(names) {
        Ok(files) => files,
        Err(ended) => {
            ended.say();
            return false;
        }
    };
    let mut all = true;
    for file in files {
        let parsed = input::Input::read(&file).and_then(|input| input.parsed());
        if let Err(ended) = parsed {
            ended.say();
            all = false;
        }
    }
    all
}

/// One JSON document, for people as well as for programs.
fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// `1 file`, `2 files`.
pub(crate) fn many(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
