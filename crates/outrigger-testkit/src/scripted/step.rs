//! What a scripted endpoint does about one request.

use std::time::Duration;

use bytes::Bytes;

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Answers and keeps the connection.
    Answer {
        /// The status.
        status: u16,
        /// Headers beside `content-length`.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// Answers one byte at a time.
    Trickle {
        /// The status.
        status: u16,
        /// The body.
        body: Bytes,
        /// The pause before each byte of head and body.
        every: Duration,
    },
    /// Announces the whole body, sends half of it and resets the connection.
    BreakOff {
        /// The status.
        status: u16,
        /// The body of which half is sent.
        body: Bytes,
    },
    /// Writes these bytes, whatever they are, and keeps the connection.
    Raw(Bytes),
    /// Writes these bytes and closes.
    RawThenClose(Bytes),
    /// Writes `head`, and then `piece` until the caller is gone.
    Endless {
        /// What comes first.
        head: Bytes,
        /// What is repeated.
        piece: Bytes,
    },
    /// Resets the connection.
    Reset,
    /// Closes the connection without an answer.
    Close,
    /// Closes its own direction only, and goes on reading.
    HalfClose,
    /// Never answers, until the caller is gone.
    Stall,
}

/// What happens to one request, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// How long it takes until anything happens.
    pub after: Duration,
    /// What happens.
    pub act: Act,
}

impl From<Act> for Step {
    fn from(act: Act) -> Self {
        Self { after: Duration::ZERO, act }
    }
}

impl Step {
    /// Answers with this status and no body.
    #[must_use]
    pub fn answer(status: u16) -> Self {
        Act::Answer { status, headers: Vec::new(), body: Bytes::new() }.into()
    }

    /// Resets the connection.
    #[must_use]
    pub fn reset() -> Self {
        Act::Reset.into()
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn close() -> Self {
        Act::Close.into()
    }

    /// Closes its own direction only.
    #[must_use]
    pub fn half_close() -> Self {
        Act::HalfClose.into()
    }

    /// Never answers.
    #[must_use]
    pub fn stall() -> Self {
        Act::Stall.into()
    }

    /// Writes these bytes, whatever they are.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Act::Raw(bytes.into()).into()
    }

    /// Waits before it acts.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// Gives an answer a body.
    ///
    /// Shape: changes nothing about a step that is no answer.
    #[must_use]
    pub fn with_body(mut self, bytes: impl Into<Bytes>) -> Self {
        if let Act::Answer { body, .. } | Act::Trickle { body, .. } | Act::BreakOff { body, .. } =
            &mut self.act
        {
            *body = bytes.into();
        }
        self
    }

    /// Adds a header to an answer.
    ///
    /// Shape: changes nothing about a step that is no plain answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Act::Answer { headers, .. } = &mut self.act {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sends an answer one byte at a time.
    ///
    /// Shape: changes nothing about a step that is no plain answer.
    #[must_use]
    pub fn trickling(mut self, every: Duration) -> Self {
        if let Act::Answer { status, body, .. } = self.act {
            self.act = Act::Trickle { status, body, every };
        }
        self
    }

    /// Breaks an answer off in the middle of its body.
    ///
    /// Shape: changes nothing about a step that is no plain answer.
    #[must_use]
    pub fn breaking_off(mut self) -> Self {
        if let Act::Answer { status, body, .. } = self.act {
            self.act = Act::BreakOff { status, body };
        }
        self
    }
}
