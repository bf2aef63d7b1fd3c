//! Traces, read back from Jaeger and Zipkin.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_e2e::jaeger::Span;
use outrigger_e2e::polyglot::{Polyglot, SERVICES};
use outrigger_e2e::process::{until_some, wait_for};
use outrigger_e2e::raw::Ask;

use crate::stage::Stage;

/// The span that our own requests claim to be made in; nobody exports it.
const CALLER: &str = "00f067aa0ba902b7";

/// Who serves and whose call that was, below the storefront.
const BELOW: [(&str, &str); 4] = [
    ("orders", "storefront"),
    ("inventory", "orders"),
    ("pricing", "orders"),
    ("billing", "orders"),
];

/// What a collector knows of a trace.
pub(crate) type Read<'a> = &'a dyn Fn(&str) -> Vec<Span>;

impl Stage {
    /// Makes one traced visit; what is given back looks for its spans.
    pub(crate) fn trace(&self, service: &str, path: &str) -> impl Fn() -> Option<Vec<Span>> {
        let id = visit(&self.fleet, service, path);
        move || self.jaeger.trace(&id).ok()
    }

    /// The same in both of its forms, in Jaeger.
    pub(crate) fn one_trace_through_all_languages(&mut self) {
        if !self.is_whole() {
            eprintln!("SKIPPED the trace through five languages: not all of them run here");
            return;
        }
        let jaeger = &self.jaeger;
        let read = |id: &str| jaeger.trace(id).unwrap_or_default();
        through_all_languages(&self.fleet, "jaeger", &read);
        through_a_hop_that_speaks_b3(&mut self.fleet, "jaeger", &read);
    }
}

fn visit(fleet: &Polyglot, service: &str, path: &str) -> String {
    let id = new_id();
    let traceparent = format!("00-{id}-{CALLER}-01");
    let answer = fleet.ask(service, path, &[("traceparent", &traceparent)]).expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");
    id
}

fn new_id() -> String {
    format!("{:032x}", fastrand::u128(1..))
}

/// Storefront, orders, and the three that orders asks: five languages.
pub(crate) fn through_all_languages(fleet: &Polyglot, collector: &str, read: Read<'_>) {
    let id = visit(fleet, "storefront", "/checkout/7");
    let spans = whole(fleet, &id, read, |spans| is_called_by(spans, "storefront", "visitors"));
    let services: BTreeSet<_> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services.len(), 6, "five languages and the visitors: {services:?}");
    println!("{collector}: {} spans of {services:?}, 1 root, 0 orphans", spans.len());
}

/// The same, where the caller and the storefront speak B3 and nothing else: a storefront that would
/// hear `traceparent` went on with the other trace, that of the header beside.
pub(crate) fn through_a_hop_that_speaks_b3(fleet: &mut Polyglot, collector: &str, read: Read<'_>) {
    let storefront = SERVICES.iter().find(|service| service.name == "storefront");
    fleet
        .add_with(storefront.expect("it is there"), &[("OTEL_PROPAGATORS", "b3")])
        .expect("it starts");
    let mut extra = fleet.instances.pop().expect("just added");
    let address = extra.address;
    wait_for("a third storefront answers", Duration::from_secs(30), || {
        Ask::new("GET", "/whoami").send(address).is_ok_and(|answer| answer.status == 200)
    });
    let (id, other) = (new_id(), new_id());
    let (b3, traceparent) = (format!("{id}-{CALLER}-1"), format!("00-{other}-{CALLER}-01"));
    let headers = [("b3", b3.as_str()), ("traceparent", &traceparent)];
    let answer = Ask { headers: &headers, ..Ask::new("GET", "/checkout/7") }.send(address);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");
    let serves = |span: &Span| span.service == "storefront" && span.kind == "server";
    let spans = whole(fleet, &id, read, |spans| spans.iter().any(serves));
    let root = spans.iter().find(|span| serves(span));
    assert_eq!(root.and_then(|root| root.parent.as_deref()), Some(CALLER), "{spans:#?}");
    let services: BTreeSet<_> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services.len(), 5, "five languages: {services:?}");
    println!("{collector}, through B3: {} spans of {services:?}, 1 root, 0 orphans", spans.len());
    extra.process.signal("TERM");
    assert_eq!(extra.process.wait(Duration::from_secs(30)), Some(true), "{}", extra.process.log());
}

/// Waits until a trace has all calls below the storefront and what else it must have.
fn whole(fleet: &Polyglot, id: &str, read: Read<'_>, and: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    let is_whole =
        |spans: &Vec<Span>| BELOW.iter().all(|(to, by)| is_called_by(spans, to, by)) && and(spans);
    let spans = until_some(Duration::from_secs(20), || Some(read(id)).filter(is_whole));
    let Some(spans) = spans else { panic!("{:#?}\n{}", read(id), fleet.logs()) };
    assert_is_whole(&spans);
    spans
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
