//! Traces, read back from Jaeger.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_e2e::jaeger::Span;
use outrigger_e2e::process::until_some;

use crate::stage::Stage;

/// The span that our own requests claim to be made in; nobody exports it.
const CALLER: &str = "00f067aa0ba902b7";

impl Stage {
    /// Makes one traced visit; what is given back looks for its spans.
    pub(crate) fn trace(&self, service: &str, path: &str) -> impl Fn() -> Option<Vec<Span>> {
        let id = format!("{:032x}", fastrand::u128(1..));
        let traceparent = format!("00-{id}-{CALLER}-01");
        let answer = self.fleet.ask(service, path, &[("traceparent", &traceparent)]);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer}");
        move || self.jaeger.trace(&id).ok()
    }

    /// Storefront, orders, and the three that orders asks: five languages.
    pub(crate) fn one_trace_through_all_languages(&self) {
        if !self.is_whole() {
            eprintln!("SKIPPED the trace through five languages: not all of them run here");
            return;
        }
        let edges = [
            ("storefront", "visitors"),
            ("orders", "storefront"),
            ("inventory", "orders"),
            ("pricing", "orders"),
            ("billing", "orders"),
        ];
        let look = self.trace("storefront", "/checkout/7");
        let whole = |spans: &Vec<Span>| edges.iter().all(|(to, by)| is_called_by(spans, to, by));
        let spans = until_some(Duration::from_secs(20), || look().filter(whole));
        let Some(spans) = spans else { panic!("{:#?}\n{}", look(), self.fleet.logs()) };
        assert_is_whole(&spans);
        let services: BTreeSet<_> = spans.iter().map(|span| span.service.as_str()).collect();
        assert_eq!(services.len(), 6, "five languages and the visitors: {services:?}");
        println!("trace: {} spans of {services:?}, 1 root, 0 orphans", spans.len());
    }
}

/// Whether a service serves in a span whose parent is a call of another one.
pub(crate) fn is_called_by(spans: &[Span], callee: &str, caller: &str) -> bool {
    let served = spans.iter().filter(|span| span.service == callee && span.kind == "server");
    served
        .filter_map(|span| spans.iter().find(|other| Some(&other.id) == span.parent.as_ref()))
        .any(|parent| parent.service == caller && parent.kind == "client")
}

/// One root, every other span has its parent among them, and each is there once.
pub(crate) fn assert_is_whole(spans: &[Span]) {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "every span is there once");
    let roots = spans.iter().filter(|span| span.parent.as_deref() == Some(CALLER)).count();
    assert_eq!(roots, 1, "one root: {spans:#?}");
    for span in spans {
        let parent = span.parent.as_deref().unwrap_or_else(|| panic!("a second root: {span:?}"));
        assert!(parent == CALLER || ids.contains(parent), "an orphan: {span:?} in {spans:#?}");
    }
}
