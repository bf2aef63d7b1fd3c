//! The request's body on its way out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::io::Wire;

/// The caller's body, held back while `Expect: 100-continue` is unanswered.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    inner: B,
    gate: Option<Box<Gate>>,
    broken: Option<Arc<AtomicBool>>,
    upload: Option<Upload>,
}

/// Told to the wire as long as the body is not through; hyper drops a body at its end.
#[derive(Debug)]
struct Upload(Arc<Wire>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.set_uploading(false);
    }
}

#[derive(Debug)]
struct Gate {
    allowed: Option<oneshot::Receiver<()>>,
    patience: Pin<Box<Sleep>>,
}

impl<B> RequestBody<B> {
    pub(crate) const fn new(inner: B) -> Self {
        Self { inner, gate: None, broken: None, upload: None }
    }

    /// Has the wire know as long as there is something left to send.
    pub(crate) fn note_upload(&mut self, wire: Arc<Wire>) {
        // First the old one, if the request was handed to another connection in vain.
        self.upload = None;
        wire.set_uploading(true);
        self.upload = Some(Upload(wire));
    }

    /// Has it noted in `broken` when the caller's body fails: over HTTP/2 hyper only tells that the
    /// stream was reset, which reads as if the endpoint were to blame.
    pub(crate) fn note_failure(&mut self, broken: Arc<AtomicBool>) {
        self.broken = Some(broken);
    }
}

/// Holds the body back until the endpoint says `100 Continue`, or for a second: a caller "might
/// proceed to send the content even without receiving a response" (RFC 9110, section 10.1.1).
pub(crate) fn hold_back<B>(request: &mut Request<RequestBody<B>>) {
    let (allow, allowed) = oneshot::channel();
    let allow = std::sync::Mutex::new(Some(allow));
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == http::StatusCode::CONTINUE {
            let mut allow = allow.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Nobody listens any more once the patience is over.
            let _ = allow.take().map(|allow| allow.send(()));
        }
    });
    let patience = Box::pin(tokio::time::sleep(PATIENCE));
    request.body_mut().gate = Some(Box::new(Gate { allowed: Some(allowed), patience }));
}

const PATIENCE: Duration = Duration::from_secs(1);

impl<B: Body + Unpin> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(gate) = &mut self.gate {
            let answer = gate.allowed.as_mut().map(|allowed| Pin::new(allowed).poll(cx));
            if matches!(answer, Some(Poll::Ready(Err(_)))) {
                // The final answer came first: nobody is going to allow it any more.
                gate.allowed = None;
            }
            if !matches!(answer, Some(Poll::Ready(Ok(()))))
                && gate.patience.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            self.gate = None;
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let (Some(Err(_)), Some(broken)) = (&frame, &self.broken) {
            broken.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
