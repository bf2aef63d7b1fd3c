use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use outrigger_core::BoxError;
use pin_project_lite::pin_project;

use crate::elsewhere::ElsewhereBody;

pin_project! {
    /// The service's body, a fixed one, or that of another service.
    pub struct FallbackBody<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Inner { #[pin] body: B },
        Fixed { body: Bytes },
        Elsewhere { #[pin] body: ElsewhereBody },
    }
}

impl<B> FallbackBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self { state: State::Inner { body } }
    }

    pub(super) const fn fixed(body: Bytes) -> Self {
        Self { state: State::Fixed { body } }
    }

    pub(super) const fn elsewhere(body: ElsewhereBody) -> Self {
        Self { state: State::Elsewhere { body } }
    }
}

impl<B> Body for FallbackBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().state.project() {
            StateProj::Inner { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            StateProj::Fixed { body } if body.is_empty() => Poll::Ready(None),
            StateProj::Fixed { body } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            StateProj::Elsewhere { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Inner { body } => body.is_end_stream(),
            State::Fixed { body } => body.is_empty(),
            State::Elsewhere { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Inner { body } => body.size_hint(),
            State::Fixed { body } => SizeHint::with_exact(body.len() as u64),
            State::Elsewhere { body } => body.size_hint(),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for FallbackBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Inner { body } => body.fmt(f),
            State::Fixed { body } => write!(f, "Fixed({} bytes)", body.len()),
            State::Elsewhere { body } => body.fmt(f),
        }
    }
}
