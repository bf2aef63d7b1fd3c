use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::MirrorLayer;
use super::compare::Summary;

/// Takes down the caller's answer for its comparison; dropped early, there is none.
pub(super) struct Watch {
    layer: Arc<MirrorLayer>,
    tell: oneshot::Sender<Summary>,
    summary: Summary,
}

impl Watch {
    pub(super) fn new(layer: Arc<MirrorLayer>) -> (Self, oneshot::Receiver<Summary>) {
        let (tell, told) = oneshot::channel();
        (Self { layer, tell, summary: Summary::default() }, told)
    }

    /// Watches the body of an answer.
    pub(super) fn follow<B: Body>(mut self, response: Response<B>) -> Response<WatchedBody<B>> {
        if let Some(rule) = self.layer.rule.compare.as_ref() {
            self.summary = Summary::new(response.status().as_u16(), response.headers(), rule);
        }
        response.map(|body| {
            let over = body.is_end_stream();
            let mut watched = WatchedBody { body, watch: Some(Box::new(self)) };
            if over {
                tell(&mut watched.watch);
            }
            watched
        })
    }
}

/// The answer is known as far as it is compared.
fn tell(watch: &mut Option<Box<Watch>>) {
    if let Some(watch) = watch.take() {
        // A copy that failed waits for nothing.
        let _ = watch.tell.send(watch.summary);
    }
}

pin_project! {
    /// A response's body that is taken down for a comparison while it is read.
    pub struct WatchedBody<B> {
        #[pin]
        body: B,
        watch: Option<Box<Watch>>,
    }
}

impl<B> WatchedBody<B> {
    pub(super) const fn alone(body: B) -> Self {
        Self { body, watch: None }
    }
}

impl<B: Body<Data = Bytes>> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let Some(watch) = this.watch else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                let Watch { layer, summary, .. } = &mut **watch;
                if let (Some(data), Some(rule)) = (frame.data_ref(), &layer.rule.compare) {
                    summary.data(data, rule);
                } else if let Some(trailers) = frame.trailers_ref() {
                    summary.trailers(trailers);
                }
                // Whoever reads by length does not poll past the last frame.
                if this.body.is_end_stream() {
                    tell(this.watch);
                }
            }
            Some(Err(_)) => *this.watch = None,
            None => tell(this.watch),
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

impl<B: fmt::Debug> fmt::Debug for WatchedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody")
            .field("body", &self.body)
            .field("watched", &self.watch.is_some())
            .finish()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
