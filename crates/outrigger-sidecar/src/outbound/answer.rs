//! What the outbound listener answers with.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use outrigger::ResponseBody;
use outrigger::core::{BoxError, Reason, Refusal};
use pin_project_lite::pin_project;

use super::pass::PassBody;

pin_project! {
    /// The body of an answer: a service's, another host's, or our own word.
    #[project = AnswerProj]
    pub(crate) enum AnswerBody {
        Service { #[pin] body: ResponseBody },
        Other { #[pin] body: PassBody },
        Ours { text: &'static str },
    }
}

/// Our own answer for what no rule refuses and no endpoint breaks.
pub(crate) fn refusal(reason: Reason, is_grpc: bool) -> Response<AnswerBody> {
    let (mut head, ()) = Response::new(()).into_parts();
    Refusal::new(reason).write_head(&mut head, is_grpc);
    let text = if is_grpc { "" } else { reason.body() };
    Response::from_parts(head, AnswerBody::Ours { text })
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
            AnswerProj::Ours { text: &mut "" } => Poll::Ready(None),
            AnswerProj::Ours { text } => {
                let data = Bytes::from_static(std::mem::take(text).as_bytes());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body } => body.is_end_stream(),
            Self::Other { body } => body.is_end_stream(),
            Self::Ours { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service { body } => body.size_hint(),
            Self::Other { body } => body.size_hint(),
            Self::Ours { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}
