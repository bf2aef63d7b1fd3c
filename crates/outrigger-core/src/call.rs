//! A request together with its context.

use crate::{Context, Endpoint};

/// A request of any kind together with its [`Context`].
///
/// The facade's stack passes requests in this form, since a context in `http::Extensions` costs
/// two allocations a request and a hash look-up in each layer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair, taken apart by every layer")]
pub struct Call<R> {
    /// What is known of it.
    pub context: Context,
    /// The request itself.
    pub request: R,
}

impl<R> Call<R> {
    /// Puts the two together.
    pub const fn new(context: Context, request: R) -> Self {
        Self { context, request }
    }

    /// The same context around another request.
    pub fn map<T>(self, change: impl FnOnce(R) -> T) -> Call<T> {
        Call { context: self.context, request: change(self.request) }
    }
}

/// A request on its way to a chosen endpoint: what the pick hands to whatever sends it.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a triple, taken apart by whoever sends it")]
pub struct Dispatch<R> {
    /// What is known of the request; `attempt` counts this try too.
    pub context: Context,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The request itself.
    pub request: R,
}

/// Whatever carries a [`Context`] through a stack of layers.
///
/// Implemented by [`Call`], and (feature `http`) by plain `http::Request`, whose extensions carry
/// it: so each layer works alone under plain tower, where nobody has made a context.
pub trait Carry {
    /// The context, if somebody above has made one.
    fn context(&self) -> Option<&Context>;

    /// The context, made by `make` if nobody above has.
    fn context_or_insert_with(&mut self, make: impl FnOnce() -> Context) -> &mut Context;
}

impl<R> Carry for Call<R> {
    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    fn context_or_insert_with(&mut self, _make: impl FnOnce() -> Context) -> &mut Context {
        &mut self.context
    }
}

impl<R> Carry for Dispatch<R> {
    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    fn context_or_insert_with(&mut self, _make: impl FnOnce() -> Context) -> &mut Context {
        &mut self.context
    }
}

#[cfg(feature = "http")]
impl<B> Carry for http::Request<B> {
    fn context(&self) -> Option<&Context> {
        self.extensions().get()
    }

    fn context_or_insert_with(&mut self, make: impl FnOnce() -> Context) -> &mut Context {
        self.extensions_mut().get_or_insert_with(make)
    }
}
