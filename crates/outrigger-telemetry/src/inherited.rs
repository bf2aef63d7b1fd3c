//! What a request that is being served hands down to the calls made for it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderValue;
use outrigger_core::{ServiceName, TraceContext};

use crate::span::{Attribute, SpanEvent, SpanLog};

tokio::task_local! {
    static CURRENT: Inherited;
}

/// What a request that is being served hands down to the calls made for it.
///
/// The server layer makes it, puts it into the request's extensions, and keeps it as the task's
/// current one while the handler runs. A task that the handler spawns has none of its own: take
/// [`current`] before, and [`scope`] inside.
///
/// Cost: cloning it copies at most four reference counts and allocates nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Inherited {
    /// The trace, and in it the server's span as the parent of what comes next.
    pub trace: TraceContext,
    /// The instant after which nobody waits for the answer.
    pub deadline: Option<Instant>,
    /// Retries made for the request so far, above us.
    pub attempt: u8,
    /// Who called us, where that is told by somebody trusted.
    pub caller: Option<ServiceName>,
    /// The application's own key-value pairs, as they go on.
    pub baggage: Option<HeaderValue>,
    /// The tracing vendors' part, as it goes on.
    pub tracestate: Option<HeaderValue>,
    pub(crate) log: Option<Arc<SpanLog>>,
}

impl Inherited {
    /// Nothing but a place in a trace.
    #[must_use]
    pub fn new(trace: TraceContext) -> Self {
        Self { trace, ..Self::default() }
    }

    /// Adds an event to the server's span; does nothing when the request is not sampled.
    ///
    /// Shape: a span keeps 128 events and counts the rest. `at` is by the wall clock.
    pub fn event(&self, name: impl Into<Cow<'static, str>>, at: SystemTime, known: Vec<Attribute>) {
        if let Some(log) = &self.log {
            log.push(SpanEvent { name: name.into(), at, attributes: known });
        }
    }

    /// Names the route that serves the request, as a template such as `/stock/{id}`; the span is
    /// called by it.
    pub fn name_route(&self, template: impl Into<Cow<'static, str>>) {
        if let Some(log) = &self.log {
            log.name_route(template.into());
        }
    }
}

/// What the request that the present task serves hands down; `None` outside of a handler.
#[must_use]
pub fn current() -> Option<Inherited> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Looks at [`current`] without cloning it.
pub(crate) fn with_current<T>(look: impl FnOnce(&Inherited) -> T) -> Option<T> {
    CURRENT.try_with(look).ok()
}

/// Runs a future as if it served the request that `inherited` came with.
///
/// # Cancel safety
/// As the future's own: dropping it drops the future.
pub fn scope<F: Future>(inherited: Inherited, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(inherited, future)
}

pub(crate) type Scoped<F> = tokio::task::futures::TaskLocalFuture<Inherited, F>;

/// As [`scope`], with a type that can be named.
pub(crate) fn scoped<F: Future>(inherited: Inherited, future: F) -> Scoped<F> {
    CURRENT.scope(inherited, future)
}

/// Runs a function as [`scoped`] runs a future.
pub(crate) fn within<T>(inherited: Inherited, run: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(inherited, run)
}
