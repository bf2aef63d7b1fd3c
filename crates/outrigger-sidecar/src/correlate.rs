//! Which inbound request an outbound call is made for, of programs that know nothing of tracing.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use outrigger::core::{Context, TraceContext};

/// The inbound requests in flight, and how many outbound calls were found to belong to one.
///
/// A call belongs to the request whose trace it names (`traceparent`, `b3`), or whose
/// `x-request-id`. It takes over deadline and retries made above, whether the application copies
/// those headers or not; by `x-request-id` also its place in the trace.
///
/// Cost: two short locks of one of 16 parts for each inbound request.
#[derive(Debug)]
pub struct Correlation {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    entries: AtomicUsize,
    correlated: AtomicU64,
    uncorrelated: AtomicU64,
}

const PARTS: usize = 16;
/// Requests in flight that are remembered; whoever comes beyond that is served all the same.
const MOST: usize = 65_536;
/// Units: bytes. A longer id is nobody's.
const LONGEST_ID: usize = 128;

#[derive(Debug, Default)]
struct Part {
    traces: HashMap<u128, Requests>,
    ids: HashMap<Box<str>, Known>,
}

/// The requests of one trace; nearly always one.
#[derive(Debug)]
struct Requests {
    first: Known,
    others: Vec<Known>,
}

/// What is known of a request in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) trace: TraceContext,
    pub(crate) deadline: Option<Instant>,
    pub(crate) attempt: u8,
}

impl Correlation {
    pub(crate) fn new() -> Self {
        Self {
            parts: Default::default(),
            hasher: RandomState::new(),
            entries: AtomicUsize::new(0),
            correlated: AtomicU64::new(0),
            uncorrelated: AtomicU64::new(0),
        }
    }

    /// Outbound calls that named an inbound request, or a trace of their own.
    #[must_use]
    pub fn correlated(&self) -> u64 {
        self.correlated.load(Relaxed)
    }

    /// Outbound calls that named none: each begins a trace of its own. What helps is to forward
    /// `traceparent`, or at least `x-request-id`.
    #[must_use]
    pub fn uncorrelated(&self) -> u64 {
        self.uncorrelated.load(Relaxed)
    }

    /// Inbound requests in flight that are remembered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// Remembers an inbound request until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, context: &Context, id: Option<&str>) -> Option<InFlight> {
        if !context.trace.is_valid() {
            return None;
        }
        if self.entries.fetch_add(1, Relaxed) >= MOST {
            self.entries.fetch_sub(1, Relaxed);
            return None;
        }
        let known =
            Known { trace: context.trace, deadline: context.deadline, attempt: context.attempt };
        let trace = context.trace.trace_id;
        match self.part(&trace).traces.entry(trace) {
            Place::Vacant(place) => {
                place.insert(Requests { first: known, others: Vec::new() });
            }
            Place::Occupied(mut place) => place.get_mut().others.push(known),
        }
        let id = id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).map(Box::<str>::from);
        if let Some(id) = &id {
            self.part(&**id).ids.insert(id.clone(), known);
        }
        Some(InFlight { all: Arc::clone(self), trace: context.trace, id })
    }

    /// The request in flight that a trace names: the one whose span is its parent, or the only one
    /// of the trace.
    pub(crate) fn of_trace(&self, trace: TraceContext) -> Option<Known> {
        let part = self.part(&trace.trace_id);
        let Requests { first, others } = part.traces.get(&trace.trace_id)?;
        let is_parent = |known: &&Known| known.trace.span_id == trace.span_id;
        if others.is_empty() {
            return Some(*first);
        }
        std::iter::once(first).chain(others).find(is_parent).copied()
    }

    /// The request in flight that came with this `x-request-id`.
    pub(crate) fn of_id(&self, id: &str) -> Option<Known> {
        if id.is_empty() || id.len() > LONGEST_ID {
            return None;
        }
        if let Some(known) = self.part(id).ids.get(id) {
            return Some(*known);
        }
        // Where the caller sent none, the application was given the id of the trace.
        let is_trace = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let trace = u128::from_str_radix(id, 16).ok().filter(|_| is_trace)?;
        self.part(&trace).traces.get(&trace).map(|requests| requests.first)
    }

    pub(crate) fn count(&self, is_correlated: bool) {
        let count = if is_correlated { &self.correlated } else { &self.uncorrelated };
        count.fetch_add(1, Relaxed);
    }

    fn part<K: std::hash::Hash + ?Sized>(&self, key: &K) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(key) as usize % PARTS;
        // Nothing in the critical sections panics half-way.
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, trace: TraceContext, id: Option<&str>) {
        if let Some(id) = id {
            let mut part = self.part(id);
            // Somebody else's by now, where two came with one id.
            if part.ids.get(id).is_some_and(|known| known.trace == trace) {
                part.ids.remove(id);
            }
        }
        let mut part = self.part(&trace.trace_id);
        if let Place::Occupied(mut place) = part.traces.entry(trace.trace_id) {
            let requests = place.get_mut();
            if let Some(at) = requests.others.iter().position(|known| known.trace == trace) {
                requests.others.swap_remove(at);
            } else if let Some(next) = requests.others.pop() {
                requests.first = next;
            } else {
                place.remove();
            }
        }
        drop(part);
        self.entries.fetch_sub(1, Relaxed);
    }
}

/// An inbound request in flight; forgotten when it ends.
#[derive(Debug)]
pub(crate) struct InFlight {
    all: Arc<Correlation>,
    trace: TraceContext,
    id: Option<Box<str>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.leave(self.trace, self.id.as_deref());
    }
}

impl outrigger::tower::Guard for InFlight {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn context(trace_id: u128, span_id: u64, left: u64) -> Context {
        let now = outrigger::tower::clock::now();
        let mut context = Context::new(now);
        context.trace = TraceContext { trace_id, span_id, flags: 1 };
        context.deadline = Some(now + Duration::from_secs(left));
        context
    }

    #[test]
    fn a_call_is_found_by_trace_and_by_id_for_as_long_as_the_request_is_in_flight() {
        let all = Arc::new(Correlation::new());
        let request = context(7, 1, 3);
        let flight = all.enter(&request, Some("abc")).expect("remembered");
        // An SDK in the application makes spans of its own in the same trace.
        let call = TraceContext { trace_id: 7, span_id: 99, flags: 1 };
        assert_eq!(all.of_trace(call).expect("the only one").deadline, request.deadline);
        assert_eq!(all.of_id("abc").expect("by its id").trace, request.trace);
        let given = format!("{:032x}", 7);
        assert_eq!(all.of_id(&given).expect("by the trace's").trace, request.trace);
        drop(flight);
        assert!(all.of_trace(call).is_none() && all.of_id("abc").is_none());
        assert_eq!(all.in_flight(), 0);
    }

    #[test]
    fn of_several_requests_of_a_trace_only_the_parent_is_meant() {
        let all = Arc::new(Correlation::new());
        let first = all.enter(&context(7, 1, 3), None);
        let second = all.enter(&context(7, 2, 9), None);
        let of = |span_id| all.of_trace(TraceContext { trace_id: 7, span_id, flags: 0 });
        assert_eq!(of(2).map(|known| known.trace.span_id), Some(2));
        assert!(of(3).is_none(), "which of them cannot be told");
        drop(first);
        assert_eq!(of(3).map(|known| known.trace.span_id), Some(2), "the only one that is left");
        drop(second);
        assert_eq!(all.in_flight(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let all = Arc::new(Correlation::new());
        let long = "x".repeat(LONGEST_ID + 1);
        let one = all.enter(&context(1, 1, 1), Some(&long)).expect("remembered");
        assert!(all.of_id(&long).is_none());
        let held: Vec<_> =
            (2..=MOST as u128).map(|id| all.enter(&context(id, 1, 1), None)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(all.enter(&context(u128::MAX, 1, 1), None).is_none(), "one too many");
        drop((one, held));
        assert_eq!(all.in_flight(), 0);
    }
}
