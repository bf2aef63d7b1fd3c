//! The `outrigger` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    outrigger_cli::run(std::env::args_os()).into()
}
