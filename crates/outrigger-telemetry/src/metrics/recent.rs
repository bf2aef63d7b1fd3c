//! The series that were counted last, found by who they are instead of by what they are called.
//!
//! A request is counted under nearly the same labels as the one before it. To look its series up is
//! to hash and compare some eighty bytes of names, three times a request; the names are shared
//! texts, though, and it is enough to see that they are the same ones.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{Outcome, RouteName, ServiceName};

use super::histogram::{Counter, Histogram};
use super::{Label, Metrics};

thread_local! {
    static RECENT: RefCell<Recent> = const { RefCell::new(Recent::NONE) };
}

/// The series that this thread counted last; bounded, so that it matters little that a thread may
/// outlive whoever shows them.
struct Recent {
    /// Whose series they are.
    of: u64,
    calls: [Option<Call>; SLOTS],
    tries: [Option<Try>; SLOTS],
}

/// A power of two.
const SLOTS: usize = 16;

/// The names are kept, since the place of one that is gone may become another one's.
struct Call {
    service: ServiceName,
    route: RouteName,
    method: &'static str,
    status: Option<u16>,
    outcome: Outcome,
    duration: Arc<Histogram>,
}

struct Try {
    service: ServiceName,
    endpoint: SocketAddr,
    result: &'static str,
    outcome: Outcome,
    count: Arc<Counter>,
    duration: Arc<Histogram>,
}

/// Whether two texts are one and the same.
fn is(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other)
}

fn slot(service: &ServiceName, more: u16) -> usize {
    ((service.as_str().as_ptr().addr() >> 4) ^ usize::from(more)) % SLOTS
}

impl Recent {
    const NONE: Self =
        Self { of: 0, calls: [const { None }; SLOTS], tries: [const { None }; SLOTS] };

    fn belong_to(&mut self, metrics: &Metrics) {
        if self.of != metrics.id {
            *self = Self { of: metrics.id, ..Self::NONE };
        }
    }
}

impl Metrics {
    /// Counts a call.
    pub(super) fn called(
        &self,
        service: &ServiceName,
        route: &RouteName,
        method: &'static str,
        status: Option<u16>,
        outcome: Outcome,
        elapsed: Duration,
    ) {
        let labels = || {
            [
                Label::Text(method),
                Label::Text(service.as_str()),
                Label::Text(route.as_str()),
                status.map_or(Label::Text(""), Label::Number),
                Label::Text(outcome.as_str()),
            ]
        };
        let counted = RECENT.try_with(|recent| {
            let mut recent = recent.borrow_mut();
            recent.belong_to(self);
            let slot = slot(service, status.unwrap_or(0));
            if let Some(call) = &recent.calls[slot]
                && is(call.service.as_str(), service.as_str())
                && is(call.route.as_str(), route.as_str())
                && is(call.method, method)
                && call.status == status
                && call.outcome == outcome
            {
                call.duration.record(elapsed);
                return true;
            }
            let Some(duration) = self.client_duration.find(&labels()) else { return false };
            duration.record(elapsed);
            let (service, route) = (service.clone(), route.clone());
            recent.calls[slot] = Some(Call { service, route, method, status, outcome, duration });
            true
        });
        // The first of its kind, one that there is no room for, or a thread that is ending.
        if !matches!(counted, Ok(true)) {
            self.client_duration.with(&labels(), |histogram| histogram.record(elapsed));
        }
    }

    /// Counts a try.
    pub(super) fn tried(
        &self,
        service: &ServiceName,
        endpoint: SocketAddr,
        result: &'static str,
        outcome: Outcome,
        elapsed: Duration,
    ) {
        let name = Label::Text(service.as_str());
        let by_endpoint = [name, Label::Endpoint(endpoint), Label::Text(result)];
        let by_outcome = [name, Label::Text(outcome.as_str())];
        let counted = RECENT.try_with(|recent| {
            let mut recent = recent.borrow_mut();
            recent.belong_to(self);
            let slot = slot(service, endpoint.port());
            if let Some(known) = &recent.tries[slot]
                && is(known.service.as_str(), service.as_str())
                && known.endpoint == endpoint
                && is(known.result, result)
                && known.outcome == outcome
            {
                known.count.add(1);
                known.duration.record(elapsed);
                return true;
            }
            let Some(count) = self.tries.find(&by_endpoint) else { return false };
            let Some(duration) = self.try_duration.find(&by_outcome) else { return false };
            count.add(1);
            duration.record(elapsed);
            let service = service.clone();
            recent.tries[slot] = Some(Try { service, endpoint, result, outcome, count, duration });
            true
        });
        if !matches!(counted, Ok(true)) {
            self.tries.with(&by_endpoint, |counter| counter.add(1));
            self.try_duration.with(&by_outcome, |histogram| histogram.record(elapsed));
        }
    }
}
