//! How the program ends.

use std::process::ExitCode;

/// How the program ends; the numbers are part of the product's outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done, or what was checked holds.
    Done,
    /// 1: what was checked does not hold.
    DoesNotHold,
    /// 2: usage or bad input.
    Usage,
    /// 3: something needed cannot be reached or is taken.
    Unreachable,
    /// 130: interrupted.
    Interrupted,
    /// That of a program that was run: its own code, or 128 and the number of its signal.
    Program(u8),
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::DoesNotHold => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Interrupted => 130,
            Exit::Program(code) => code,
        }
    }
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        u8::from(exit).into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        u8::from(exit).into()
    }
}
