use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::MirrorBody;
use super::copy::Copy;

pin_project! {
    /// A request's body that is recorded for its copy while it is sent.
    pub struct TeeBody<B> {
        #[pin]
        body: B,
        tape: Option<Box<Tape>>,
    }
}

/// What is recorded, up to the limit; sent when the body has ended.
#[derive(Debug)]
struct Tape {
    copy: Option<Copy>,
    recorded: MirrorBody,
    bytes: usize,
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.give_up("unread");
        }
    }
}

impl Tape {
    fn send(mut self: Box<Self>) {
        if let Some(copy) = self.copy.take() {
            copy.send(std::mem::take(&mut self.recorded));
        }
    }

    /// Whether the tape is of use still.
    fn record(&mut self, frame: &Frame<Bytes>) -> bool {
        let limit = self.copy.as_ref().map_or(0, |copy| copy.layer.rule.body_limit);
        if let Some(data) = frame.data_ref() {
            if data.is_empty() {
                // Of these a caller can send any number without reaching a limit in bytes.
                return true;
            }
            self.bytes = self.bytes.saturating_add(data.len());
            if self.bytes > limit {
                if let Some(copy) = self.copy.take() {
                    copy.give_up("too_large");
                }
                return false;
            }
            self.recorded.data.push_back(data.clone());
        } else if let Some(trailers) = frame.trailers_ref() {
            self.recorded.trailers = Some(trailers.clone());
        }
        true
    }
}

impl<B: Body<Data = Bytes>> TeeBody<B> {
    /// A body with nothing in it is copied at once.
    pub(super) fn new(body: B, copy: Option<Copy>) -> Self {
        let tape = copy.and_then(|copy| {
            if body.is_end_stream() {
                copy.send(MirrorBody::default());
                return None;
            }
            let recorded = MirrorBody::default();
            Some(Box::new(Tape { copy: Some(copy), recorded, bytes: 0 }))
        });
        Self { body, tape }
    }
}

impl<B: Body<Data = Bytes>> Body for TeeBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(tape) = this.tape {
            let of_use = match &frame {
                Some(Ok(frame)) => tape.record(frame),
                Some(Err(_)) => false,
                None => true,
            };
            // Whoever reads by length does not poll past the last frame.
            let ended = frame.is_none() || this.body.is_end_stream();
            if (ended || !of_use)
                && let Some(tape) = this.tape.take()
                && of_use
            {
                tape.send();
            }
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

impl<B: fmt::Debug> fmt::Debug for TeeBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeeBody")
            .field("body", &self.body)
            .field("copied", &self.tape.is_some())
            .finish()
    }
}
