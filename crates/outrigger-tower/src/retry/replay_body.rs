//! A request body that can be sent again.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// A request body that is recorded while it is sent, so that it can be sent again.
///
/// Shape: the first try streams; what it sends is kept up to the limit, by reference count and not
/// by copying. A body that says it is larger is not recorded, one that turns out larger is
/// forgotten: either is sent once. An empty body costs nothing.
pub struct ReplayBody<B>(Inner<B>);

enum Inner<B> {
    Empty,
    Once(B),
    Recorded(Reader<B>),
}

/// One try's place in the recording.
struct Reader<B> {
    shared: Arc<Mutex<Recording<B>>>,
    next: usize,
    /// What is not recorded yet, while it is this try that reads it.
    source: Option<B>,
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            lock(&self.shared).source = Some(source);
        }
    }
}

pub(crate) struct Recording<B> {
    frames: Vec<Recorded>,
    bytes: usize,
    limit: usize,
    /// What is not recorded yet, while no try reads it.
    source: Option<B>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Recording,
    Complete,
    /// Too large, or broken: of no use for another try.
    Lost,
}

#[derive(Clone)]
enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Recorded {
    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

impl<B> Recording<B> {
    fn record(&mut self, frame: &Frame<Bytes>) {
        if self.state != State::Recording {
            return;
        }
        let recorded = match (frame.data_ref(), frame.trailers_ref()) {
            // Of these a caller can send any number without reaching a limit in bytes.
            (Some(data), _) if data.is_empty() => return,
            (Some(data), _) => {
                self.bytes = self.bytes.saturating_add(data.len());
                Recorded::Data(data.clone())
            }
            (None, Some(trailers)) => Recorded::Trailers(trailers.clone()),
            // A kind of frame that nobody knows cannot be sent twice.
            (None, None) => return self.lose(),
        };
        if self.bytes > self.limit {
            self.lose();
        } else {
            self.frames.push(recorded);
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.frames = Vec::new();
    }
}

fn lock<B>(shared: &Mutex<Recording<B>>) -> MutexGuard<'_, Recording<B>> {
    // Never held over a poll of the source: what panicked was not in the middle of a change.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> ReplayBody<B> {
    /// A body that is sent once.
    #[must_use]
    pub const fn once(body: B) -> Self {
        Self(Inner::Once(body))
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// Records a body up to `limit` bytes.
    pub(crate) fn record(body: B, limit: usize) -> (Self, Tape<B>) {
        if body.is_end_stream() {
            return (Self(Inner::Empty), Tape::Empty);
        }
        let hint = body.size_hint();
        if hint.lower() > limit as u64 {
            return (Self::once(body), Tape::None);
        }
        let recording = Recording {
            frames: Vec::new(),
            bytes: 0,
            limit,
            source: None,
            state: State::Recording,
        };
        let shared = Arc::new(Mutex::new(recording));
        let reader = Reader { shared: Arc::clone(&shared), next: 0, source: Some(body) };
        (Self(Inner::Recorded(reader)), Tape::Shared(shared))
    }
}

/// The recording of a body, from which it is sent again.
pub(crate) enum Tape<B> {
    /// There was nothing to record.
    Empty,
    /// It is too large.
    None,
    Shared(Arc<Mutex<Recording<B>>>),
}

impl<B> fmt::Debug for Tape<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::None => "None",
            Self::Shared(_) => "Shared",
        })
    }
}

impl<B> Tape<B> {
    /// Whether another try can send all of it: the whole is recorded, or the rest is there to be
    /// read because the try before has let go of it.
    pub(crate) fn is_replayable(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::None => false,
            Self::Shared(shared) => {
                let recording = lock(shared);
                match recording.state {
                    State::Complete => true,
                    State::Recording => recording.source.is_some(),
                    State::Lost => false,
                }
            }
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::None => false,
            Self::Shared(shared) => lock(shared).state == State::Complete,
        }
    }

    /// The body once more, from its beginning.
    pub(crate) fn replay(&self) -> Option<ReplayBody<B>> {
        match self {
            Self::Empty => Some(ReplayBody(Inner::Empty)),
            Self::Shared(shared) if self.is_replayable() => {
                let source = lock(shared).source.take();
                let reader = Reader { shared: Arc::clone(shared), next: 0, source };
                Some(ReplayBody(Inner::Recorded(reader)))
            }
            _ => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Reader<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        {
            let recording = lock(&self.shared);
            if let Some(recorded) = recording.frames.get(self.next) {
                self.next += 1;
                return Poll::Ready(Some(Ok(recorded.frame())));
            }
            if recording.state == State::Complete {
                return Poll::Ready(None);
            }
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *source).poll_frame(cx));
        let is_end = frame.is_none() || (matches!(frame, Some(Ok(_))) && source.is_end_stream());
        let mut recording = lock(&self.shared);
        match &frame {
            Some(Ok(frame)) => recording.record(frame),
            Some(Err(_)) => recording.lose(),
            None => {}
        }
        if is_end && recording.state == State::Recording {
            recording.state = State::Complete;
        }
        // What was just sent is not read from the recording again.
        self.next = recording.frames.len();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let recording = lock(&self.shared);
        self.next >= recording.frames.len()
            && (recording.state == State::Complete
                || self.source.as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        let recording = lock(&self.shared);
        let recorded: u64 =
            recording.frames.get(self.next..).unwrap_or_default().iter().map(Recorded::len).sum();
        if recording.state == State::Complete {
            return SizeHint::with_exact(recorded);
        }
        let rest = self.source.as_ref().map(Body::size_hint).unwrap_or_default();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(recorded));
        }
        hint.set_lower(rest.lower().saturating_add(recorded));
        hint
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.get_mut().0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Once(body) => Pin::new(body).poll_frame(cx),
            Inner::Recorded(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Once(body) => body.is_end_stream(),
            Inner::Recorded(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Once(body) => body.size_hint(),
            Inner::Recorded(reader) => reader.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Empty => "ReplayBody::Empty",
            Inner::Once(_) => "ReplayBody::Once",
            Inner::Recorded(_) => "ReplayBody::Recorded",
        })
    }
}

#[cfg(test)]
mod tests;
