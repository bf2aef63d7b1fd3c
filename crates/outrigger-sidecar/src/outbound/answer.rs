//! What the outbound listener answers with.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use outrigger::ResponseBody;
use outrigger::core::{BoxError, Reason, Refusal};
use pin_project_lite::pin_project;

use super::pass::PassBody;

pin_project! {
    /// The body of an answer: a service's, or another host's.
    #[project = AnswerProj]
    pub(crate) enum AnswerBody {
        Service { #[pin] body: ResponseBody },
        Other { #[pin] body: PassBody },
        // To CONNECT.
        Empty,
    }
}

/// Our own word for what no rule refuses and no endpoint breaks.
pub(crate) fn refused(reason: Reason) -> BoxError {
    Refusal::new(reason).into()
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            AnswerProj::Service { body } => body.poll_frame(cx),
            AnswerProj::Other { body } => body.poll_frame(cx),
            AnswerProj::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body } => body.is_end_stream(),
            Self::Other { body } => body.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service { body } => body.size_hint(),
            Self::Other { body } => body.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}
