//! The same trace, read back from a real Zipkin, which every process of the fleet sends to.

use std::time::Duration;

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::polyglot::{Polyglot, SERVICES};
use outrigger_e2e::process::wait_for;
use outrigger_e2e::zipkin::Zipkin;

use crate::stage::{is_ci, is_soak};
use crate::tracing::{through_a_hop_that_speaks_b3, through_all_languages};

/// A Zipkin starts in half a minute: in the long form only.
pub(crate) fn tells_the_trace_through_five_languages() {
    if !is_soak() {
        eprintln!("SKIPPED Zipkin: OUTRIGGER_SOAK=1 plays it");
        return;
    }
    let Some(consul) = RealConsul::builder(Version::New) else { return };
    let zipkin = Zipkin::start().expect("zipkin starts");
    let consul = consul.start().expect("consul starts");
    let endpoint = zipkin.endpoint();
    let environment = [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let mut fleet = Polyglot::new(&consul, &[], &environment).expect("the visitors' sidecar");
    for service in SERVICES.iter().filter(|service| service.name != "echo") {
        if let Some(why) = fleet.missing(service) {
            assert!(!is_ci(), "{} does not run: {why}", service.name);
            eprintln!("SKIPPED Zipkin: {} ({}): {why}", service.name, service.language);
            return;
        }
        fleet.add(service).expect("it starts");
    }
    wait_for(&format!("all are passing\n{}", fleet.logs()), Duration::from_secs(90), || {
        fleet.all_are_passing(&consul)
    });
    wait_for("a checkout is answered", Duration::from_secs(30), || {
        fleet.ask("storefront", "/checkout/7", &[]).is_ok_and(|answer| answer.status == 200)
    });
    zipkin.wait_ready();
    let read = |id: &str| zipkin.trace(id).unwrap_or_default();
    through_all_languages(&fleet, "zipkin", &read);
    through_a_hop_that_speaks_b3(&mut fleet, "zipkin", &read);
}
