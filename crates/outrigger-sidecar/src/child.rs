//! The program beside the sidecar, as a process.
//!
//! It gets a process group of its own, so that a terminal's Ctrl-C is handled once, by us; its
//! three streams are ours, untouched. What it leaves behind is ended with it: processes of its
//! group, and on Linux also those that left the group, since we adopt them.

mod node;
mod port;
mod table;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group};

pub(crate) use node::ignores_proxy;
pub(crate) use port::free_port;
pub(crate) use table::{Listening, Processes, listening};
pub(crate) use terminal::is_there as has_terminal;

use crate::environment::Environment;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a process ends in two ways")]
pub enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl Ended {
    /// The code that stands for it: its own, or 128 + the signal's number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.wrapping_add(signal),
        }
    }
}

/// Why the program was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no command.
    #[error("no command is given: `outrigger run -- COMMAND…`")]
    NoCommand,
    /// There is no such program, or it may not be executed.
    #[error("the command `{command}` cannot be started")]
    Start {
        /// The program as it was typed.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that supervision needs is refused by the system.
    #[error("the command cannot be supervised")]
    Supervise(#[source] io::Error),
}

/// What is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Where; the working directory when `None`.
    pub(crate) directory: Option<PathBuf>,
    /// What it finds in its environment.
    pub(crate) environment: Environment,
    /// Whether processes that it leaves behind become ours, and are waited for. Only for a process
    /// that has no other children: it takes the ends of all of them.
    pub(crate) adopts: bool,
}

/// A started program.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    adopts: bool,
    ended: Option<Ended>,
}

/// What happened to the children of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that matters.
    Nothing,
    /// The program ended.
    Ended(Ended),
    /// It wants the terminal, which is ours, and is stopped for it.
    WantsTerminal,
}

impl Child {
    /// Starts a program.
    pub(crate) fn start(program: &Program) -> Result<Self, StartError> {
        let Some((first, rest)) = program.command.split_first() else {
            return Err(StartError::NoCommand);
        };
        if program.adopts {
            adopt().map_err(StartError::Supervise)?;
        }
        let mut command = Command::new(first);
        command.args(rest).process_group(0).envs(&program.environment.set);
        for name in &program.environment.removed {
            command.env_remove(name);
        }
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        let child = command.spawn().map_err(|source| StartError::Start {
            command: first.to_string_lossy().into_owned(),
            source,
        })?;
        // Its end is waited for by `look`; the handle has nothing that must be given back.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| StartError::Supervise(io::Error::other("a pid of 0")))?;
        Ok(Self { pid, adopts: program.adopts, ended: None })
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How it ended, if it did.
    pub(crate) const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Takes what happened to it, and the ends of whatever was adopted. To be called after each
    /// SIGCHLD; never waits.
    pub(crate) fn look(&mut self) -> Change {
        let mut change = Change::Nothing;
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        let next = || match self.adopts {
            true => rustix::process::wait(options),
            false => rustix::process::waitpid(Some(self.pid), options),
        };
        while let Ok(Some((pid, status))) = next() {
            if pid != self.pid {
                continue;
            }
            if let Some(ended) = ended(status) {
                self.ended = Some(ended);
                change = Change::Ended(ended);
                if !self.adopts {
                    break;
                }
            } else if terminal::is_wanted(status) {
                change = Change::WantsTerminal;
            }
        }
        change
    }

    /// Sends a signal to the program alone.
    pub(crate) fn tell(&self, signal: Signal) {
        // It may just have ended.
        if self.ended.is_none() {
            let _gone = kill_process(self.pid, signal);
        }
    }

    /// Sends a signal to everything that was started, and wakes what is stopped so that it hears.
    pub(crate) fn tell_all(&self, signal: Signal) {
        let rest = self.processes();
        // The group outlives its first process, and its number is not given away before it ends.
        let _gone = kill_process_group(self.pid, signal);
        for pid in rest.outside_of(self.pid()) {
            let _gone = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
        }
        if signal != Signal::KILL {
            let _gone = kill_process_group(self.pid, Signal::CONT);
        }
    }

    /// Everything that it started and that still runs, itself included.
    pub(crate) fn processes(&self) -> Processes {
        Processes::of(self.pid(), self.adopts)
    }

    /// Whether anything of it still runs. A process that ended and that nobody waits for does not.
    pub(crate) fn is_there(&self) -> bool {
        match self.processes() {
            // Where nobody tells, the group does.
            Processes::Unknown => rustix::process::test_kill_process_group(self.pid).is_ok(),
            known => !known.is_empty(),
        }
    }

    /// Gives it the terminal and lets it go on; `false` when the terminal is not ours to give.
    pub(crate) fn give_terminal(&self) -> bool {
        terminal::give(self.pid) && kill_process_group(self.pid, Signal::CONT).is_ok()
    }
}

/// Whatever is left behind below us becomes our child rather than that of the first process.
fn adopt() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

fn ended(status: WaitStatus) -> Option<Ended> {
    let small = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    status
        .exit_status()
        .map(|code| Ended::Code(small(code)))
        .or_else(|| status.terminating_signal().map(|signal| Ended::Signal(small(signal))))
}
