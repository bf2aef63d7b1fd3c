//! What a request's body has to be.

use http_body::Body;
use outrigger_core::BoxError;

/// A request's body that the pool can send; implemented for every body that fits.
///
/// Shape: it may be sent by a task of the connection's own, hence `Send` and `'static`.
pub trait OutboundBody: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B> OutboundBody for B
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
}
