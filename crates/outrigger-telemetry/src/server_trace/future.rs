//! The future, and what ends with the request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Response;
use http_body::Body;
use outrigger_core::{BoxError, Refusal};

use super::service::Begun;
use crate::Telemetry;
use crate::inherited::Scoped;
use crate::span::{LiveSpan, error_type};
use crate::traced::{Ending, TracedBody};

/// Counts a request from its arrival to the end of its body, however it ends.
#[derive(Debug)]
pub(crate) struct ServerEnd {
    telemetry: Telemetry,
    method: &'static str,
    started: Instant,
    status: Option<u16>,
    /// What kept it from an answer; the word for "the caller went away" until something is known.
    error: &'static str,
}

impl ServerEnd {
    pub(super) fn begin(telemetry: &Telemetry, method: &'static str, started: Instant) -> Self {
        telemetry.metrics().server_began();
        Self { telemetry: telemetry.clone(), method, started, status: None, error: "cancelled" }
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let elapsed = self.telemetry.now().saturating_duration_since(self.started);
        self.telemetry.metrics().server_ended(self.method, self.status, self.error, elapsed);
    }
}

pin_project_lite::pin_project! {
    /// The future of a server layer.
    #[derive(Debug)]
    pub struct ServerFuture<F> {
        #[pin]
        inner: Scoped<F>,
        span: Option<Box<LiveSpan>>,
        end: Option<ServerEnd>,
    }
}

impl<F> ServerFuture<F> {
    pub(super) fn new(inner: Scoped<F>, begun: Begun) -> Self {
        Self { inner, span: begun.span, end: Some(begun.end) }
    }
}

impl<F, B, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<TracedBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let (mut span, mut end) = (this.span.take(), this.end.take());
        match result {
            Ok(response) => {
                if let Some(end) = &mut end {
                    end.status = Some(response.status().as_u16());
                    end.error = "";
                }
                if let Some(span) = &mut span {
                    span.answered(response.status(), response.version());
                }
                let ending = Ending::new(span, end);
                Poll::Ready(Ok(response.map(|body| TracedBody::new(body, ending))))
            }
            Err(error) => {
                if let Some(end) = &mut end {
                    end.error = error_type(error.as_ref());
                    // What a layer further out answers for it.
                    end.status = Refusal::of(error.as_ref()).map(|r| r.reason.http_status());
                }
                if let Some(span) = &mut span {
                    span.failed(&error);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}
