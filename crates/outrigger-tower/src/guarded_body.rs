//! A body that holds something until it ends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyEnd {
    /// It was read to its end.
    Complete,
    /// It broke.
    Broken,
}

/// What a body holds: a permit, a place among the requests in flight.
///
/// Released once: told how the body ended, or merely dropped with it when nobody read it to the
/// end.
pub trait Guard {
    /// Takes note of the end; dropping is all that most do.
    fn release(self, end: BodyEnd)
    where
        Self: Sized,
    {
        let _ = end;
    }
}

impl<G: Guard> Guard for Option<G> {
    fn release(self, end: BodyEnd) {
        if let Some(guard) = self {
            guard.release(end);
        }
    }
}

impl<A: Guard, B: Guard> Guard for (A, B) {
    fn release(self, end: BodyEnd) {
        self.0.release(end);
        self.1.release(end);
    }
}

impl Guard for outrigger_retry::InFlight {}
impl Guard for outrigger_retry::RetryPermit {}

pin_project! {
    /// A body that holds a guard until it ends: a request ends with its response's body.
    ///
    /// Cost: no allocation; one branch a frame.
    pub struct GuardedBody<B, G> {
        #[pin]
        body: B,
        guard: Option<G>,
    }
}

impl<B: Body, G: Guard> GuardedBody<B, G> {
    /// Holds `guard` until `body` ends; gives it back at once when that is over already.
    pub fn new(body: B, guard: G) -> Self {
        if body.is_end_stream() {
            guard.release(BodyEnd::Complete);
            Self { body, guard: None }
        } else {
            Self { body, guard: Some(guard) }
        }
    }
}

impl<B, G> GuardedBody<B, G> {
    /// Whether the guard is still held.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.guard.is_some()
    }
}

impl<B: Body, G: Guard> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let end = match &frame {
            // Whoever reads by length does not poll past the last frame.
            Some(Ok(_)) if !this.body.is_end_stream() => return Poll::Ready(frame),
            Some(Ok(_)) | None => BodyEnd::Complete,
            Some(Err(_)) => BodyEnd::Broken,
        };
        if let Some(guard) = this.guard.take() {
            guard.release(end);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug, G> fmt::Debug for GuardedBody<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody")
            .field("body", &self.body)
            .field("held", &self.guard.is_some())
            .finish()
    }
}
