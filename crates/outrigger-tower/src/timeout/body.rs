use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{BoxError, Failed, FailureKind};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::Bounds;
use crate::clock;

pin_project! {
    /// A body that breaks when the request's time is over.
    ///
    /// Cost: nothing while frames are there; one that has to be waited for sets a timer, which is
    /// allocated then, so that the body can be moved as long as what it wraps can.
    pub struct TimedBody<B> {
        #[pin]
        body: B,
        sleep: Option<Pin<Box<Sleep>>>,
        // `idle` of a stream only; any other body obeys the instant that the timer was made with.
        bounds: Bounds,
        is_over: bool,
    }
}

impl<B> TimedBody<B> {
    pub(crate) const fn new(body: B, bounds: Bounds) -> Self {
        Self { body, sleep: None, bounds, is_over: false }
    }
}

impl Bounds {
    /// What holds for the body of an answer.
    pub(crate) fn of<B>(self, response: &Response<B>) -> Self {
        if is_stream(response) {
            Self { ends: stream_ends(self.deadline, self.idle), ..self }
        } else {
            Self { idle: None, ..self }
        }
    }
}

/// Whether an answer may go on for as long as something comes.
fn is_stream<B>(response: &Response<B>) -> bool {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return true;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    kind.is_some_and(|kind| {
        kind.starts_with(b"application/grpc") || kind.starts_with(b"text/event-stream")
    })
}

/// When a stream ends that shows nothing more.
fn stream_ends(
    deadline: Option<Instant>,
    idle: Option<Duration>,
) -> Option<(Instant, FailureKind)> {
    let idle = idle.and_then(|idle| clock::now().checked_add(idle));
    let deadline = deadline.map(|at| (at, FailureKind::Deadline));
    let idle = idle.map(|at| (at, FailureKind::Timeout));
    [deadline, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
}

impl<B> Body for TimedBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            if this.bounds.idle.is_some() && matches!(frame, Some(Ok(_))) {
                let ends = stream_ends(this.bounds.deadline, this.bounds.idle);
                this.bounds.ends = ends;
                if let (Some((at, _)), Some(sleep)) = (ends, this.sleep.as_mut()) {
                    sleep.as_mut().reset(at.into());
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some((at, kind)) = this.bounds.ends else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        ready!(sleep.as_mut().poll(cx));
        *this.is_over = true;
        Poll::Ready(Some(Err(Failed::new(kind).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for TimedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedBody").field("body", &self.body).finish_non_exhaustive()
    }
}
