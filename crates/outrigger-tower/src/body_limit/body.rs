use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use outrigger_core::{BoxError, Rejected};
use pin_project_lite::pin_project;

/// Whether a body turned out too large: told by the body, asked by the request's future.
pub(super) type Over = Arc<AtomicBool>;

pin_project! {
    /// A body that breaks where it becomes larger than it may be.
    pub struct LimitedBody<B> {
        #[pin]
        body: B,
        count: Option<Count>,
    }
}

struct Count {
    left: u64,
    over: Over,
    rejected: Rejected,
}

impl<B> LimitedBody<B> {
    pub(super) const fn whole(body: B) -> Self {
        Self { body, count: None }
    }

    pub(super) fn counted(body: B, limit: u64, over: &Over, rejected: &Rejected) -> Self {
        let (over, rejected) = (Arc::clone(over), rejected.clone());
        Self { body, count: Some(Count { left: limit, over, rejected }) }
    }

    /// The body inside, of which a part may have been read.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Some(count) = this.count
            && count.over.load(Relaxed)
        {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.poll_frame(cx));
        if let (Some(count), Some(Ok(frame))) = (this.count, &frame)
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = count.left.checked_sub(data.remaining() as u64) else {
                count.over.store(true, Relaxed);
                return Poll::Ready(Some(Err(count.rejected.clone().into())));
            };
            count.left = left;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.count.as_ref().is_some_and(|count| count.over.load(Relaxed))
            || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for LimitedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedBody")
            .field("body", &self.body)
            .field("left", &self.count.as_ref().map(|count| count.left))
            .finish()
    }
}
