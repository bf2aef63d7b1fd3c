//! What the demo has seen so far: written by the load and by observers, read by page and report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger::admin::Events;
use outrigger::core::{CircuitState, Event, Observe, Outcome, RouteName, ServiceName};
use outrigger::tower::TokioClock;
use serde::Serialize;

use super::percentile::Recent;
use crate::clock;

/// Everything the demo has seen; shared by `Arc`.
#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    inner: Mutex<Inner>,
    events: Arc<Events>,
}

#[derive(Debug, Default)]
struct Inner {
    total: Tally,
    chapter: Tally,
    recent: Recent,
    retries: u64,
    ejections: u64,
    transitions: Vec<Transition>,
    endpoints: BTreeMap<(String, String, SocketAddr), EndpointTally>,
    registry_lost: Vec<String>,
}

/// Requests as the user of the storefront sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) degraded: u64,
    pub(crate) slow: u64,
    pub(crate) failed_by_class: BTreeMap<String, u64>,
    /// Stock that was asked for under the policy with a split, by who answered.
    pub(crate) under_split: BTreeMap<String, u64>,
}

/// A request that takes longer than this counts as slow.
pub(crate) const SLOW: Duration = Duration::from_millis(1_000);

/// A circuit that changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transition {
    pub(crate) at_ms: u64,
    pub(crate) caller: String,
    pub(crate) service: String,
    pub(crate) route: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// What one caller saw of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointTally {
    pub(crate) tries: u64,
    pub(crate) failures: u64,
    pub(crate) recent: Recent,
}

/// How one request ended for the user.
#[derive(Debug)]
pub(crate) enum Ending {
    /// A whole answer.
    Whole,
    /// An answer without what a broken part would have added.
    Degraded,
    /// No answer, or an error; the class names it.
    Failed(String),
}

/// A reading of the figures at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) degraded: u64,
    pub(crate) failed_by_class: BTreeMap<String, u64>,
    pub(crate) rate: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) retries: u64,
    pub(crate) ejections: u64,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) registry: RegistryFigures,
}

/// Whether everybody reaches the registry.
#[derive(Debug, Serialize)]
pub(crate) struct RegistryFigures {
    pub(crate) connected: bool,
}

/// A reading of what a caller saw of an endpoint.
#[derive(Debug)]
pub(crate) struct EndpointFigures {
    pub(crate) rate: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) failures: u64,
}

impl Board {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: clock::now(),
            inner: Mutex::default(),
            events: Events::new(clock::wall()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each update is complete before the lock is given up, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    fn at_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Books a request of the user's.
    pub(crate) fn finished(&self, ending: Ending, took: Duration) {
        let now = self.elapsed();
        let mut inner = self.lock();
        inner.recent.push(now, took);
        let Inner { total, chapter, .. } = &mut *inner;
        for tally in [total, chapter] {
            tally.requests += 1;
            tally.slow += u64::from(took > SLOW);
            match &ending {
                Ending::Whole => {}
                Ending::Degraded => tally.degraded += 1,
                Ending::Failed(class) => {
                    tally.failed += 1;
                    *tally.failed_by_class.entry(class.clone()).or_default() += 1;
                }
            }
        }
    }

    /// Books who answered a request that ran under the policy with a split.
    pub(crate) fn answered_under_split(&self, served_by: &str) {
        let mut inner = self.lock();
        *inner.chapter.under_split.entry(served_by.to_owned()).or_default() += 1;
    }

    /// Starts a chapter's own tally and returns the one before.
    pub(crate) fn turn_page(&self) -> Tally {
        std::mem::take(&mut self.lock().chapter)
    }

    /// The running chapter's tally.
    pub(crate) fn chapter(&self) -> Tally {
        self.lock().chapter.clone()
    }

    /// Writes a line into the event list.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.events.note(clock::wall(), "demo", text);
    }

    /// The event list.
    pub(crate) fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    /// The figures now.
    pub(crate) fn figures(&self) -> Figures {
        let now = self.elapsed();
        let inner = self.lock();
        let reading = inner.recent.read(now);
        Figures {
            requests: inner.total.requests,
            failed: inner.total.failed,
            degraded: inner.total.degraded,
            failed_by_class: inner.total.failed_by_class.clone(),
            rate: reading.rate,
            p50_ms: reading.p50_ms,
            p99_ms: reading.p99_ms,
            retries: inner.retries,
            ejections: inner.ejections,
            transitions: inner.transitions.clone(),
            registry: RegistryFigures { connected: inner.registry_lost.is_empty() },
        }
    }

    /// What `caller` saw of an endpoint of `service` lately.
    pub(crate) fn endpoint(
        &self,
        caller: &str,
        service: &str,
        address: SocketAddr,
    ) -> EndpointFigures {
        let now = self.elapsed();
        let inner = self.lock();
        let key = (caller.to_owned(), service.to_owned(), address);
        let Some(tally) = inner.endpoints.get(&key) else {
            return EndpointFigures { rate: 0.0, p50_ms: None, p99_ms: None, failures: 0 };
        };
        let reading = tally.recent.read(now);
        EndpointFigures {
            rate: reading.rate,
            p50_ms: reading.p50_ms,
            p99_ms: reading.p99_ms,
            failures: tally.failures,
        }
    }

    /// Tries that `caller` made at an endpoint so far, and how many failed.
    pub(crate) fn tries(&self, caller: &str, service: &str, address: SocketAddr) -> (u64, u64) {
        let key = (caller.to_owned(), service.to_owned(), address);
        self.lock().endpoints.get(&key).map_or((0, 0), |tally| (tally.tries, tally.failures))
    }

    /// Observers that book what happens inside the service `caller`: the figures, and the list.
    pub(crate) fn observers(self: &Arc<Self>, caller: &str) -> [Arc<dyn Observe>; 2] {
        let figures = Observer { board: Arc::clone(self), caller: caller.to_owned() };
        [Arc::new(figures), self.events.observer(caller, Arc::new(TokioClock::new()))]
    }
}

#[derive(Debug)]
struct Observer {
    board: Arc<Board>,
    caller: String,
}

impl Observe for Observer {
    fn observe(&self, event: &Event<'_>) {
        let at_ms = self.board.at_ms();
        let now = self.board.elapsed();
        let caller = &self.caller;
        let mut inner = self.board.lock();
        match event {
            Event::Tried { service, endpoint, outcome, elapsed, .. } => {
                let key = (caller.clone(), service.to_string(), endpoint.address());
                let tally = inner.endpoints.entry(key).or_default();
                tally.tries += 1;
                tally.failures += u64::from(*outcome == Outcome::Failure);
                tally.recent.push(now, *elapsed);
            }
            Event::Retried { .. } => inner.retries += 1,
            Event::Ejected { .. } => inner.ejections += 1,
            Event::CircuitChanged { service, route, from, to } => {
                let transition = transition(at_ms, caller, service, route, *from, *to);
                inner.transitions.push(transition);
            }
            Event::Registry { connected, .. } => {
                let known = inner.registry_lost.iter().position(|name| name == caller);
                match (connected, known) {
                    (false, None) => inner.registry_lost.push(caller.clone()),
                    (true, Some(at)) => {
                        inner.registry_lost.remove(at);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn transition(
    at_ms: u64,
    caller: &str,
    service: &ServiceName,
    route: &RouteName,
    from: CircuitState,
    to: CircuitState,
) -> Transition {
    Transition {
        at_ms,
        caller: caller.to_owned(),
        service: service.to_string(),
        route: route.to_string(),
        from: from.as_str(),
        to: to.as_str(),
    }
}
