//! Requests that come with a context, or that get one.

use http::Request;
use outrigger_core::{Call, Carry, Context};

/// An HTTP request on its way through the layers: a [`Call`] inside the facade's stack, a plain
/// [`Request`] under plain tower, where the context travels in the extensions.
pub trait HttpCall: Carry + Sized {
    /// The request's body.
    type Body;
    /// The same kind of request with another body.
    type With<T>: HttpCall<Body = T>;

    /// The request, to look at.
    fn request(&self) -> &Request<Self::Body>;

    /// The request, to change.
    fn request_mut(&mut self) -> &mut Request<Self::Body>;

    /// Takes it apart; `make` is asked when nobody above has made a context.
    fn take_apart(self, make: impl FnOnce() -> Context) -> Call<Request<Self::Body>>;

    /// Puts it together, around another body if need be.
    fn put_together<T>(call: Call<Request<T>>) -> Self::With<T>;
}

impl<B> HttpCall for Call<Request<B>> {
    type Body = B;
    type With<T> = Call<Request<T>>;

    fn request(&self) -> &Request<B> {
        &self.request
    }

    fn request_mut(&mut self) -> &mut Request<B> {
        &mut self.request
    }

    fn take_apart(self, _make: impl FnOnce() -> Context) -> Self {
        self
    }

    fn put_together<T>(call: Call<Request<T>>) -> Call<Request<T>> {
        call
    }
}

impl<B> HttpCall for Request<B> {
    type Body = B;
    type With<T> = Request<T>;

    fn request(&self) -> &Self {
        self
    }

    fn request_mut(&mut self) -> &mut Self {
        self
    }

    fn take_apart(mut self, make: impl FnOnce() -> Context) -> Call<Self> {
        let context = self.extensions_mut().remove().unwrap_or_else(make);
        Call::new(context, self)
    }

    fn put_together<T>(call: Call<Request<T>>) -> Request<T> {
        let Call { context, mut request } = call;
        request.extensions_mut().insert(context);
        request
    }
}
