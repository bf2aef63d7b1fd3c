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

use crate::clock;

pin_project! {
    /// A body that breaks when the request's time is over.
    ///
    /// Cost: nothing while frames are there; one that has to be waited for sets a timer, which is
    /// allocated then, so that the body can be moved as long as what it wraps can.
    pub struct TimedBody<B> {
        #[pin]
        body: B,
        ends: Option<(Instant, FailureKind)>,
        sleep: Option<Pin<Box<Sleep>>>,
        deadline: Option<Instant>,
        // Of a stream only; any other body obeys the instant that the timer was made with.
        idle: Option<Duration>,
        is_over: bool,
    }
}

impl<B> TimedBody<B> {
    pub(super) fn wrap(
        response: Response<B>,
        ends: Option<(Instant, FailureKind)>,
        deadline: Option<Instant>,
        idle: Option<Duration>,
    ) -> Response<Self> {
        let (mut ends, mut stream_idle) = (ends, None);
        if is_stream(&response) {
            stream_idle = idle;
            ends = stream_ends(deadline, idle);
        }
        response.map(|body| Self {
            body,
            ends,
            sleep: None,
            deadline,
            idle: stream_idle,
            is_over: false,
        })
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
            if this.idle.is_some() && matches!(frame, Some(Ok(_))) {
                *this.ends = stream_ends(*this.deadline, *this.idle);
                if let (Some((at, _)), Some(sleep)) = (*this.ends, this.sleep.as_mut()) {
                    sleep.as_mut().reset(at.into());
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some((at, kind)) = *this.ends else { return Poll::Pending };
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
