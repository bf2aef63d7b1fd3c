//! The right to send one request, and what sending comes to.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::OutboundBody;
use super::multiplexed::Stream;
use super::request_body::RequestBody;
use super::single::Single;

/// What sending comes to: an answer, or the request again where no byte of it was written.
pub(crate) type Sent<B> = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>;

/// The right to send one request.
pub(crate) enum Leased<B: OutboundBody> {
    Single(Box<Single<B>>),
    Stream(Stream<B>),
}
