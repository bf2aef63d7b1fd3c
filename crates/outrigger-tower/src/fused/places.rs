//! Places that calls have left, for the next ones.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use outrigger_core::Dispatch;
use tower_service::Service;

use super::exchange::Exchange;
use super::layer::Plan;
use crate::ReplayBody;

/// What all clones of a [`Fused`](super::Fused) share.
pub(super) struct Places<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    inner: S,
    plan: Arc<Plan>,
    spare: Mutex<Spare<S, B, RB>>,
}

type Spare<S, B, RB> = Vec<Pin<Box<Exchange<S, B, RB>>>>;

/// Most that are kept; what is in flight beyond is allocated.
const SPARES: usize = 256;

impl<S, B, RB> Places<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    pub(super) const fn new(inner: S, plan: Arc<Plan>) -> Self {
        Self { inner, plan, spare: Mutex::new(Vec::new()) }
    }

    fn spare(&self) -> MutexGuard<'_, Spare<S, B, RB>> {
        // A push and a pop leave nothing half done.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, B, RB> Places<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>> + Clone,
{
    #[inline]
    pub(super) fn take(self: &Arc<Self>) -> Place<S, B, RB> {
        let spare = self.spare().pop();
        let exchange = spare.unwrap_or_else(|| self.make());
        Place { exchange: Some(exchange), home: Arc::clone(self) }
    }

    #[cold]
    fn make(&self) -> Pin<Box<Exchange<S, B, RB>>> {
        Box::pin(Exchange::new(self.inner.clone(), Arc::clone(&self.plan)))
    }
}

/// The place of one call, given back once it is over.
pub(super) struct Place<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    exchange: Option<Pin<Box<Exchange<S, B, RB>>>>,
    home: Arc<Places<S, B, RB>>,
}

impl<S, B, RB> Place<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    /// `None` once it was given back.
    pub(super) fn exchange(&mut self) -> Option<Pin<&mut Exchange<S, B, RB>>> {
        self.exchange.as_mut().map(Pin::as_mut)
    }

    pub(super) fn exchange_ref(&self) -> Option<&Exchange<S, B, RB>> {
        self.exchange.as_deref()
    }

    /// Moves it; what stays behind is empty.
    pub(super) fn take(&mut self) -> Self {
        Self { exchange: self.exchange.take(), home: Arc::clone(&self.home) }
    }

    /// Gives it back now.
    pub(super) fn leave(&mut self) {
        let Some(mut exchange) = self.exchange.take() else { return };
        // First what it holds, since that may be what another call waits for, and no lock is held.
        exchange.as_mut().clear();
        if !exchange.is_reusable() {
            return;
        }
        let mut spare = self.home.spare();
        if spare.len() < SPARES {
            spare.push(exchange);
        }
    }
}

impl<S, B, RB> Drop for Place<S, B, RB>
where
    S: Service<Dispatch<Request<ReplayBody<B>>>>,
{
    fn drop(&mut self) {
        self.leave();
    }
}
