//! Everything that plays: Consul, Jaeger, the fleet, and a service that always fails.

use std::time::{Duration, Instant};

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::jaeger::Jaeger;
use outrigger_e2e::polyglot::{Polyglot, SERVICES, Service};
use outrigger_e2e::process::wait_for;
use serde_json::json;

use crate::flaky::Flaky;

/// A name that only circuits are tried on.
pub(crate) const FLAKY: &str = "flaky";

pub(crate) struct Stage {
    pub(crate) fleet: Polyglot,
    pub(crate) flaky: Flaky,
    pub(crate) jaeger: Jaeger,
    pub(crate) consul: RealConsul,
}

impl Stage {
    /// `None`, said loudly, where real parts are not asked for.
    pub(crate) fn set() -> Option<Self> {
        let consul = RealConsul::builder(Version::New)?.start().expect("consul starts");
        let jaeger = Jaeger::start().expect("jaeger starts");
        let flaky = Flaky::start();
        for service in SERVICES {
            publish(&consul, service.name, &policy(service.name));
        }
        publish(&consul, FLAKY, FLAKY_POLICY);
        let entry = json!({
            "Name": FLAKY, "Address": "127.0.0.1", "Port": flaky.address.port(),
        });
        put(&consul, "/v1/agent/service/register", &entry.to_string());

        let otlp = jaeger.otlp();
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ];
        let fleet = Polyglot::new(&consul, &[FLAKY], &environment).expect("the visitors' sidecar");
        let mut stage = Self { fleet, flaky, jaeger, consul };
        let began = Instant::now_by_test();
        for service in &SERVICES {
            if let Some(why) = stage.fleet.missing(service) {
                assert!(!is_ci(), "{} ({}) does not run: {why}", service.name, service.language);
                eprintln!("SKIPPED {} ({}): {why}", service.name, service.language);
                continue;
            }
            for _ in 0..2 {
                stage.fleet.add(service).expect("it starts");
            }
        }
        stage.wait_until_passing(Duration::from_secs(90));
        for service in stage.services().into_iter().filter(|_| stage.is_whole()) {
            let answers = || stage.fleet.ask(service.name, service.route, &[]);
            wait_for(&format!("{} answers: {:?}", service.name, answers()), SOON, || {
                answers().is_ok_and(|answer| answer.status == 200)
            });
        }
        println!(
            "{} instances of {} services after {:.1} s",
            stage.fleet.instances.len(),
            stage.services().len(),
            began.elapsed().as_secs_f64()
        );
        Some(stage)
    }

    /// The services that run here.
    pub(crate) fn services(&self) -> Vec<&'static Service> {
        SERVICES.iter().filter(|service| self.fleet.missing(service).is_none()).collect()
    }

    /// Whether all of them do.
    pub(crate) fn is_whole(&self) -> bool {
        self.services().len() == SERVICES.len()
    }

    pub(crate) fn wait_until_passing(&self, limit: Duration) {
        let there = outrigger_e2e::process::until_some(limit, || {
            self.fleet.all_are_passing(&self.consul).then_some(())
        });
        assert!(there.is_some(), "not all are passing within {limit:?}\n{}", self.fleet.logs());
    }
}

const SOON: Duration = Duration::from_secs(15);

/// Long enough below to be tried twice, short enough that a hanging instance is noticed. By requests
/// in flight: peak EWMA is right to leave out a JVM that has just started.
fn policy(name: &str) -> String {
    let per_try = match name {
        "storefront" => "3s",
        "orders" => "2s",
        _ => "750ms",
    };
    format!(
        "version: 1\n\
         service: {name}\n\
         timeout: 9s\n\
         retry: {{ attempts: 2, when: [connect_failure, refused_stream, reset, timeout, 5xx], \
         per_try_timeout: {per_try} }}\n\
         eject: {{ consecutive_errors: 5, interval: 250ms, base_time: 1s, max_time: 10s }}\n\
         balance: {{ algorithm: least_request }}\n\
         inbound:\n  rate_limits: [ {{ name: limited, rate: 3/m, \
         match: {{ headers: {{ x-limited: yes-please }} }} }} ]\n"
    )
}

/// No retry and no ejection: what is refused, the circuit refuses.
const FLAKY_POLICY: &str = "version: 1\nservice: flaky\ntimeout: 2s\nretry: { attempts: 0 }\n\
    eject: none\nbreaker: { failure_ratio: 0.5, window: 10s, min_calls: 5, open_for: 60s }\n";

fn publish(consul: &RealConsul, service: &str, text: &str) {
    put(consul, &format!("/v1/kv/outrigger/policy/{service}"), text);
}

fn put(consul: &RealConsul, path: &str, body: &str) {
    let answer = consul.ask("PUT", path, body.as_bytes()).expect("consul answers");
    assert_eq!(answer.status, 200, "{path}: {answer}");
}

pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

pub(crate) fn is_soak() -> bool {
    std::env::var("OUTRIGGER_SOAK").is_ok_and(|value| value == "1")
}

/// The clock of a test of real processes.
pub(crate) trait NowByTest {
    fn now_by_test() -> Self;
}

impl NowByTest for Instant {
    #[expect(clippy::disallowed_methods, reason = "processes run on real time")]
    fn now_by_test() -> Self {
        Self::now()
    }
}
