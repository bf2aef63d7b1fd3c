//! The terminal: whose it is, and whether there is one.

use std::fs::File;
use std::io::{IsTerminal as _, stdin};

use rustix::process::{Pid, WaitStatus, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// SIGTTIN and SIGTTOU: a program beside the one in front reads from the terminal, or sets it up.
const WANTED: [i32; 2] = [21, 22];

/// Whether a program is stopped since it wants the terminal.
pub(super) fn is_wanted(status: WaitStatus) -> bool {
    status.stopping_signal().is_some_and(|signal| WANTED.contains(&signal))
}

/// Puts a group into the front of the terminal, if we are there ourselves: whoever is not may not
/// give it away, and would be stopped for trying.
pub(super) fn give(group: Pid) -> bool {
    let input = stdin();
    input.is_terminal()
        && tcgetpgrp(&input).is_ok_and(|front| front == getpgrp())
        && tcsetpgrp(&input, group).is_ok()
}

/// Whether this process has a terminal that can be lost.
pub(crate) fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}
