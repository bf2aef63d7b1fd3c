//! The layer.

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use tower_layer::Layer;

use super::ServerTrace;
use crate::Telemetry;

/// Whose trace, baggage and caller are believed.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Everybody's.
    #[default]
    All,
    /// Nobody's: the edge of a fleet. Each request starts a trace of its own, which links to the
    /// one that came in; the sampled flag from outside is not obeyed.
    Nobody,
    /// Whoever the function, given the request's extensions, says yes to.
    If(Arc<dyn Fn(&Extensions) -> bool + Send + Sync>),
}

impl Trust {
    pub(crate) fn allows(&self, extensions: &Extensions) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::If(ask) => ask(extensions),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Nobody => "Nobody",
            Self::If(_) => "If",
        })
    }
}

/// Continues the trace of each request that comes in, and hands it down to the calls made for it.
///
/// Place it outermost, but inside of whatever reads deadline and caller from the headers into the
/// context: it hands those down too. It reads the trace's headers, records a server span for a
/// sampled request, puts the trace into the context, and makes [`Inherited`](crate::Inherited)
/// available: as the task's [`current`](crate::current) one and in the request's extensions.
#[derive(Clone, Debug)]
pub struct ServerTraceLayer {
    pub(super) telemetry: Telemetry,
    pub(super) trust: Trust,
    pub(super) continues: bool,
}

impl ServerTraceLayer {
    /// A layer that records with `telemetry` and trusts everybody.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone(), trust: Trust::All, continues: false }
    }

    /// Believes only some.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Continues the trace of whoever is not believed too; baggage and caller do not count all the
    /// same. For a server inside of the fleet, where a trace that breaks helps nobody.
    #[must_use]
    pub const fn continuing(mut self, wanted: bool) -> Self {
        self.continues = wanted;
        self
    }
}

impl<S> Layer<S> for ServerTraceLayer {
    type Service = ServerTrace<S>;

    fn layer(&self, inner: S) -> ServerTrace<S> {
        ServerTrace::new(inner, self.clone())
    }
}
