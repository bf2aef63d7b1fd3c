//! Signals, as what is to be done about them.

use std::fs;
use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::child::has_terminal;

/// Something that the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something happened to a child.
    Child,
    /// It is to end; the program hears of it by this signal.
    End(Signal),
    /// The program is to hear of it, and nothing else.
    Forward(Signal),
    /// The terminal stops us.
    Pause,
    /// We go on.
    Resume,
}

/// Everything that is listened to; from its start on, none of these does what it does by default.
#[derive(Debug)]
pub(super) struct Signals {
    child: Stream,
    terminate: Stream,
    interrupt: Stream,
    hang_up: Option<Stream>,
    quit: Stream,
    user: [Stream; 2],
    pause: Stream,
    resume: Stream,
    has_terminal: bool,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let stream = |of: Signal| signal(SignalKind::from_raw(of.as_raw()));
        // Under `nohup`, a hang-up stays without effect.
        let hang_up = if is_ignored(Signal::HUP) { None } else { Some(stream(Signal::HUP)?) };
        Ok(Self {
            child: stream(Signal::CHILD)?,
            terminate: stream(Signal::TERM)?,
            interrupt: stream(Signal::INT)?,
            hang_up,
            quit: stream(Signal::QUIT)?,
            user: [stream(Signal::USR1)?, stream(Signal::USR2)?],
            pause: stream(Signal::TSTP)?,
            resume: stream(Signal::CONT)?,
            has_terminal: has_terminal(),
        })
    }

    /// The next thing that the system tells.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing is lost.
    pub(super) async fn next(&mut self) -> Event {
        let [first, second] = &mut self.user;
        let hung_up = async {
            match &mut self.hang_up {
                Some(stream) => stream.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.child.recv() => Event::Child,
            _ = self.terminate.recv() => Event::End(Signal::TERM),
            _ = self.interrupt.recv() => Event::End(Signal::INT),
            // The terminal is lost; without one, a hang-up is somebody's wish to read files anew.
            _ = hung_up => match self.has_terminal {
                true => Event::End(Signal::HUP),
                false => Event::Forward(Signal::HUP),
            },
            _ = self.quit.recv() => Event::Forward(Signal::QUIT),
            _ = first.recv() => Event::Forward(Signal::USR1),
            _ = second.recv() => Event::Forward(Signal::USR2),
            _ = self.pause.recv() => Event::Pause,
            _ = self.resume.recv() => Event::Resume,
        }
    }
}

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}
