use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use outrigger_core::{BoxError, Failed, FailureKind};
use pin_project_lite::pin_project;

use super::{Bounds, TimedBody};
use crate::timer::Timer;

pin_project! {
    /// The answer, or the end of time.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Running {
            #[pin]
            inner: F,
            #[pin]
            timer: Timer<FailureKind>,
            bounds: Bounds,
        },
        Over { failed: Option<Failed> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn running(inner: F, bounds: Bounds) -> Self {
        let timer = Timer::new(bounds.ends);
        Self { state: State::Running { inner, timer, bounds } }
    }

    pub(super) const fn refused(failed: Failed) -> Self {
        Self { state: State::Over { failed: Some(failed) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<TimedBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let kind = match state.as_mut().project() {
            StateProj::Running { inner, timer, bounds } => {
                if let Poll::Ready(result) = inner.poll(cx) {
                    return Poll::Ready(match result {
                        Ok(response) => {
                            let bounds = bounds.of(&response);
                            Ok(response.map(|body| TimedBody::new(body, bounds)))
                        }
                        Err(error) => Err(error.into()),
                    });
                }
                match timer.poll(cx) {
                    Poll::Ready(kind) => kind,
                    Poll::Pending => return Poll::Pending,
                }
            }
            StateProj::Over { failed } => {
                let failed = failed.take().unwrap_or(Failed::new(FailureKind::Timeout));
                return Poll::Ready(Err(failed.into()));
            }
        };
        // Drops the inner future now, so that its endpoint, its permits and its circuit hear of it
        // while the clock still says what ended it.
        state.set(State::Over { failed: None });
        Poll::Ready(Err(Failed::new(kind).into()))
    }
}
