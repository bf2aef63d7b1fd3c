//! Events become numbers.

use outrigger_core::{CircuitState, Event, Freshness, Observe, Refusal, RouteName, ServiceName};

use super::{Label, Metrics};

impl Observe for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Finished { service, route, method, status, outcome, elapsed, .. } => {
                self.called(service, route, method, status, outcome, elapsed);
            }
            Event::Tried { service, endpoint, status, failure, outcome, elapsed, .. } => {
                let result = match (failure, status) {
                    (Some(failure), _) => failure.as_str(),
                    (None, Some(status)) => class(status),
                    (None, None) => outcome.as_str(),
                };
                self.tried(service, endpoint.address(), result, outcome, elapsed);
            }
            Event::Rejected { rejected, route } => {
                let labels = [
                    Label::Text(rejected.service().as_str()),
                    Label::Text(route.as_str()),
                    Label::Text(Refusal::from(rejected).reason.as_str()),
                ];
                self.rejections.with(&labels, |counter| counter.add(1));
            }
            Event::Retried { service, hedge, .. } => {
                let kind = if hedge { "hedge" } else { "retry" };
                let labels = [Label::Text(service.as_str()), Label::Text(kind)];
                self.retries.with(&labels, |counter| counter.add(1));
            }
            Event::RetryForbidden { service, why } => {
                let labels = [Label::Text(service.as_str()), Label::Text(why)];
                self.retries_forbidden.with(&labels, |counter| counter.add(1));
            }
            Event::Spared { service, reason, rule, .. } => {
                let reason = Label::Text(reason.as_str());
                let labels = [Label::Text(service.as_str()), Label::Text(rule), reason];
                self.spared.with(&labels, |counter| counter.add(1));
            }
            Event::FaultInjected { service, route, kind } => {
                self.faults.with(&of_route(service, route, kind), |counter| counter.add(1));
            }
            Event::FallbackServed { service, route, kind } => {
                self.fallbacks.with(&of_route(service, route, kind), |counter| counter.add(1));
            }
            Event::Mirrored { service, route, result } => {
                self.mirrors.with(&of_route(service, route, result), |counter| counter.add(1));
            }
            _ => self.observe_state(event),
        }
    }
}

impl Metrics {
    /// Changes of state: rare, and so kept off the path of requests.
    #[cold]
    fn observe_state(&self, event: &Event<'_>) {
        match *event {
            Event::CircuitChanged { service, route, to, .. } => {
                let (service, route) = (Label::Text(service.as_str()), Label::Text(route.as_str()));
                let state = match to {
                    CircuitState::Closed => 0,
                    CircuitState::HalfOpen => 1,
                    _ => 2,
                };
                self.circuit_state.with(&[service, route], |gauge| gauge.set(state));
                let labels = [service, route, Label::Text(to.as_str())];
                self.circuit_transitions.with(&labels, |counter| counter.add(1));
            }
            Event::Ejected { service, cause, .. } => {
                let labels = [Label::Text(service.as_str()), Label::Text(cause.as_str())];
                self.ejections.with(&labels, |counter| counter.add(1));
            }
            Event::Returned { service, .. } => {
                self.returns.with(&[Label::Text(service.as_str())], |counter| counter.add(1));
            }
            Event::Panicking { service, begins } => {
                let labels = [Label::Text(service.as_str())];
                self.panicking.with(&labels, |gauge| gauge.set(begins.into()));
                self.panics.with(&labels, |counter| counter.add(begins.into()));
            }
            Event::SetChanged { service, version, instances, usable, freshness } => {
                let labels = [Label::Text(service.as_str())];
                let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                let stale = !matches!(freshness, Freshness::Live | Freshness::Static);
                self.set_instances.with(&labels, |gauge| gauge.set(number(instances)));
                self.set_usable.with(&labels, |gauge| gauge.set(number(usable)));
                let version = i64::try_from(version).unwrap_or(i64::MAX);
                self.set_version.with(&labels, |gauge| gauge.set(version));
                self.set_changes.with(&labels, |counter| counter.add(1));
                self.set_stale.with(&labels, |gauge| gauge.set(stale.into()));
            }
            Event::HoldingEmpty { service, begins } => {
                let labels = [Label::Text(service.as_str())];
                self.holding.with(&labels, |gauge| gauge.set(begins.into()));
                self.holds.with(&labels, |counter| counter.add(begins.into()));
            }
            Event::Registry { connected, class } => {
                self.registry_connected.set(connected.into());
                if !connected {
                    self.registry_errors.with(&[Label::Text(class)], |counter| counter.add(1));
                }
            }
            Event::Shedding { service, begins, .. } => {
                let service = [Label::Text(service.as_str())];
                self.shedding.with(&service, |gauge| gauge.set(begins.into()));
            }
            Event::PolicyChanged { service, version, source } => {
                let service = Label::Text(service.as_str());
                let number = i64::try_from(version.0).unwrap_or(i64::MAX);
                self.policy_version.with(&[service], |gauge| gauge.set(number));
                let labels = [service, Label::Text(source)];
                self.policy_changes.with(&labels, |counter| counter.add(1));
            }
            Event::PolicyTrouble { service, class, begins } => {
                let service = Label::Text(service.as_str());
                self.policy_held.with(&[service], |gauge| gauge.set(begins.into()));
                let labels = [service, Label::Text(class)];
                self.policy_troubles.with(&labels, |counter| counter.add(begins.into()));
            }
            Event::Registration { service, state } => {
                let labels = [Label::Text(service.as_str()), Label::Text(state.as_str())];
                self.registrations.with(&labels, |counter| counter.add(1));
            }
            // An event that is newer than this crate has no metric yet.
            _ => {}
        }
    }
}

/// The labels of what happens on a route.
fn of_route<'a>(service: &'a ServiceName, route: &'a RouteName, what: &'a str) -> [Label<'a>; 3] {
    [Label::Text(service.as_str()), Label::Text(route.as_str()), Label::Text(what)]
}

const fn class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    }
}
