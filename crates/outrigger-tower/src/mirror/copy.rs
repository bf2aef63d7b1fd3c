//! A copy on its way: made of the head, sent with the recorded body, judged by its answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{BoxError, Context, Event};
use outrigger_limit::Permit;
use tokio::sync::oneshot;

use super::compare::{Difference, Summary, compare, sides};
use super::{Compare, MirrorLayer};
use crate::clock;
use crate::elsewhere::ElsewhereBody;

/// The body of a copy: what the request's own body consisted of.
#[derive(Debug, Default)]
pub struct MirrorBody {
    pub(super) data: VecDeque<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Body for MirrorBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.data.pop_front() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.iter().map(|data| data.len() as u64).sum())
    }
}

/// A copy that waits for the request's body to be sent.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) layer: Arc<MirrorLayer>,
    head: Request<()>,
    context: Context,
    permit: Permit,
    /// What the caller's answer was.
    told: Option<oneshot::Receiver<Summary>>,
}

impl Copy {
    pub(super) fn new<B>(
        layer: Arc<MirrorLayer>,
        context: &Context,
        request: &Request<B>,
        permit: Permit,
        told: Option<oneshot::Receiver<Summary>>,
    ) -> Self {
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        if !request.extensions().is_empty() {
            *head.extensions_mut() = request.extensions().clone();
        }
        let mut context = context.clone();
        context.subset.clone_from(&layer.rule.subset);
        // It is nobody's answer: what the caller waits for, tried and was told is not its concern.
        (context.timeout, context.tried, context.receipt) = (None, None, None);
        Self { layer, head, context, permit, told }
    }

    /// Tells what became of a copy, or of the wish for one.
    pub(super) fn tell(layer: &MirrorLayer, context: &Context, result: &'static str) {
        layer.seen.count(result);
        layer.observers.emit(&Event::Mirrored {
            service: context.service.as_ref().unwrap_or(&layer.service),
            route: &context.route,
            result,
        });
    }

    /// There will be no copy.
    pub(super) fn give_up(self, why: &'static str) {
        Self::tell(&self.layer, &self.context, why);
    }

    /// Sends the copy, with its own task.
    pub(super) fn send(self, body: MirrorBody) {
        // Outside of a runtime nothing can be sent.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self.give_up("failed");
        };
        runtime.spawn(self.run(body));
    }

    async fn run(mut self, body: MirrorBody) {
        let layer = Arc::clone(&self.layer);
        let (method, path) = (self.head.method().clone(), self.head.uri().path().to_owned());
        let trace_id = self.context.trace.trace_id;
        let theirs = tokio::time::timeout(layer.rule.timeout, self.exchange(body)).await;
        let result = match (theirs, self.told.take()) {
            (Err(_) | Ok(Err(_)), _) => "failed",
            (Ok(Ok(_)), None) => "answered",
            (Ok(Ok(theirs)), Some(told)) => {
                let ours = tokio::time::timeout(layer.rule.timeout, told).await;
                match (ours, theirs) {
                    (Ok(Ok(ours)), Some(theirs)) => match compare(&ours, &theirs) {
                        None => "same",
                        Some((what, at)) => {
                            let (primary, mirror) = sides(&ours, &theirs, at);
                            layer.seen.keep(Difference {
                                at: clock::now(),
                                method,
                                path,
                                trace_id,
                                what,
                                body_differs_at: at,
                                primary,
                                mirror,
                            });
                            what
                        }
                    },
                    _ => "incomplete",
                }
            }
        };
        Self::tell(&layer, &self.context, result);
        drop(self.permit);
    }

    /// The copy's answer; `None` when nobody compares.
    async fn exchange(&mut self, body: MirrorBody) -> Result<Option<Summary>, BoxError> {
        let now = clock::now();
        self.context.started = now;
        self.context.deadline = now.checked_add(self.layer.rule.timeout);
        let mut request = std::mem::take(&mut self.head).map(|()| body);
        request.extensions_mut().insert(self.context.clone());
        let response = self.layer.target.send(request).await?;
        read(response, self.layer.rule.compare.as_ref()).await
    }
}

/// Reads an answer as far as it is compared, and a little further, so that its connection can be
/// used again.
async fn read(
    response: Response<ElsewhereBody>,
    rule: Option<&Compare>,
) -> Result<Option<Summary>, BoxError> {
    const MOST: usize = 1024 * 1024;
    let (head, body) = response.into_parts();
    let mut summary = rule.map(|rule| Summary::new(head.status.as_u16(), &head.headers, rule));
    let (mut body, mut read) = (pin!(body), 0);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            read += data.len();
            if let (Some(summary), Some(rule)) = (&mut summary, rule) {
                summary.data(data, rule);
            }
        }
        if let (Some(summary), Some(trailers)) = (&mut summary, frame.trailers_ref()) {
            summary.trailers(trailers);
        }
        if read > MOST.max(rule.map_or(0, |rule| rule.body_limit)) {
            break;
        }
    }
    Ok(summary)
}
