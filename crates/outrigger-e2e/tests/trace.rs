//! One request at the storefront, read back as one whole trace from a real Jaeger.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::fleet::{Fleet, ROLES};
use outrigger_e2e::jaeger::{Jaeger, Span};
use outrigger_e2e::process::until_some;
use outrigger_e2e::raw::Ask;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The span that our own request claims to be made in; nobody exports it.
const CALLER: &str = "00f067aa0ba902b7";

fn services(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.service.as_str()).collect()
}

#[test]
fn a_checkout_is_one_whole_trace_in_jaeger() {
    let Some(builder) = RealConsul::builder(Version::New) else { return };
    let consul = builder.start().expect("consul starts");
    let jaeger = Jaeger::start().expect("jaeger starts");
    let otlp = jaeger.otlp();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let sizes = [("inventory", 2), ("pricing", 1), ("orders", 1), ("storefront", 1)];
    let fleet = Fleet::start(&consul, &sizes, &environment).expect("the fleet starts");

    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let ask = Ask { headers: &headers, ..Ask::new("GET", "/checkout/7") };
    let answer = ask.send(fleet.storefront()).expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");

    // storefront serves and calls, orders serves and calls twice, inventory and pricing serve; a
    // call is a logical span with one for its try.
    let whole = || {
        let spans = jaeger.trace(TRACE).ok()?;
        let servers = spans.iter().filter(|span| span.kind == "server").count();
        (servers == 4 && spans.len() >= 10).then_some(spans)
    };
    let spans = until_some(Duration::from_secs(20), whole).unwrap_or_else(|| {
        panic!("jaeger has {:#?}\n{}", jaeger.trace(TRACE), fleet.logs());
    });

    assert_eq!(services(&spans), ROLES.into_iter().collect(), "all services, and no other");
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "every span is there once");
    let roots: Vec<_> =
        spans.iter().filter(|span| span.parent.as_deref() == Some(CALLER)).collect();
    let [root] = &*roots else { panic!("one root was expected: {roots:?}") };
    assert_eq!((root.service.as_str(), root.kind.as_str()), ("storefront", "server"));
    for span in &spans {
        let parent = span.parent.as_deref().unwrap_or_else(|| panic!("a second root: {span:?}"));
        assert!(parent == CALLER || ids.contains(parent), "an orphan: {span:?}");
    }
    // Whoever serves was called by a span of the service that calls it.
    for (callee, caller) in
        [("orders", "storefront"), ("inventory", "orders"), ("pricing", "orders")]
    {
        let served = spans.iter().find(|span| span.service == callee && span.kind == "server");
        let served = served.unwrap_or_else(|| panic!("{callee} serves"));
        let parent = spans.iter().find(|span| Some(&span.id) == served.parent.as_ref());
        let parent = parent.unwrap_or_else(|| panic!("{callee} was called"));
        assert_eq!((parent.service.as_str(), parent.kind.as_str()), (caller, "client"));
    }
    println!("trace {TRACE}: {} spans of {} services, 1 root, 0 orphans", spans.len(), ROLES.len());
}
