//! What is kept of a request so that it can be sent again.

use std::cell::RefCell;

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;
use outrigger_core::{Call, Context};

use super::ReplayBody;
use super::replay_body::Tape;

/// What is kept of a request so that it can be sent again.
///
/// Cost: the headers are copied into a list that an earlier request has left behind, so that
/// keeping a request allocates nothing once a thread has warmed up; they become a map again, with
/// all its hashing, only when there is another try. A value that the caller has
/// just made from a `String` is shared from its first clone on, for which `bytes` allocates 24
/// bytes; values read from a connection, and constant ones, are shared already.
#[derive(Debug)]
pub(crate) struct Kept<B> {
    pub(crate) context: Context,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    version: Version,
    headers: Headers,
    extensions: Option<Extensions>,
    body: Tape<B>,
}

impl<B: Body<Data = Bytes> + Unpin> Kept<B> {
    /// Keeps a request; what comes first is the request to send.
    pub(crate) fn new(
        call: Call<Request<B>>,
        body_limit: usize,
    ) -> (Call<Request<ReplayBody<B>>>, Self) {
        let Call { context, request } = call;
        let mut kept = Self::of(context.clone());
        let request = kept.keep(request, body_limit);
        (Call::new(context, request), kept)
    }

    /// Nothing but the context, so far.
    #[inline]
    pub(crate) fn of(context: Context) -> Self {
        Self {
            context,
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            headers: Headers::new(),
            extensions: None,
            body: Tape::None,
        }
    }

    /// Keeps a request; what comes back is the request to send.
    pub(crate) fn keep(
        &mut self,
        request: Request<B>,
        body_limit: usize,
    ) -> Request<ReplayBody<B>> {
        self.method.clone_from(request.method());
        self.uri.clone_from(request.uri());
        self.version = request.version();
        self.headers = copy(request.headers());
        // What a user put there is worth its price; nothing is there usually.
        if !request.extensions().is_empty() {
            self.extensions = Some(request.extensions().clone());
        }
        request.map(|body| {
            let (body, tape) = ReplayBody::record(body, body_limit);
            self.body = tape;
            body
        })
    }

    /// Whether all of it can be sent again, now.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.is_replayable()
    }

    /// Whether all of its body has been recorded, so that two tries can run at once.
    pub(crate) fn is_complete(&self) -> bool {
        self.body.is_complete()
    }

    /// The request once more, as retry or hedge number `retries`.
    pub(crate) fn again(&self, retries: u8) -> Option<Call<Request<ReplayBody<B>>>> {
        let mut request = Request::new(self.body.replay()?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.iter().cloned().collect();
        if let Some(extensions) = &self.extensions {
            *request.extensions_mut() = extensions.clone();
        }
        let mut context = self.context.clone();
        context.attempt = context.attempt.saturating_add(retries).min(outrigger_core::MAX_ATTEMPT);
        Some(Call::new(context, request))
    }
}

impl<B> Drop for Kept<B> {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.headers));
    }
}

type Headers = Vec<(HeaderName, HeaderValue)>;

thread_local! {
    /// Empty lists with room in them. A request may end on another thread than it began on; then
    /// that thread has one more, up to the bound.
    static SPARE: RefCell<Vec<Headers>> = const { RefCell::new(Vec::new()) };
}

/// Most lists that a thread keeps; more requests in flight on one thread allocate theirs.
const SPARES: usize = 256;

/// A list that grew beyond this is not kept, lest one odd request cost memory for ever.
const LARGEST: usize = 128;

fn copy(headers: &HeaderMap) -> Headers {
    if headers.is_empty() {
        return Headers::new();
    }
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    let mut copy = spare.unwrap_or_default();
    // Values of one name come in their order, which is all the order that matters.
    copy.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    copy
}

fn give(mut list: Headers) {
    if list.capacity() == 0 || list.capacity() > LARGEST {
        return;
    }
    list.clear();
    // A thread that is ending has nowhere to keep it.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARES {
            spare.push(list);
        }
    });
}
