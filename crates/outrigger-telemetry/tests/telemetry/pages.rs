//! The pages that are scraped: true, bounded, well formed.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{
    CircuitState, EjectionCause, Endpoint, Event, FailureKind, Freshness, Instance, InstanceId,
    Observe, Outcome, Ratio, Reason, RegistrationState, Rejected, RouteName, ServiceName,
};
use outrigger_telemetry::{CATALOGUE, MAX_PAGE, MetricKind, Metrics};

use crate::support::{endpoint, service};

fn page(metrics: &Metrics) -> String {
    let mut page = String::new();
    metrics.encode(&mut page);
    page
}

/// Every sample of a page in Prometheus' text format, by its name with labels; checks the form.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let mut typed = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            continue;
        }
        if line.starts_with("# ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().expect("a name");
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        assert!(typed.contains_key(base) || typed.contains_key(name), "{name} has no type");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}");
        let value = value.parse().expect("a number");
        assert!(all.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    all
}

fn tried(
    service: &ServiceName,
    endpoint: &Endpoint,
    status: Option<u16>,
    failure: Option<FailureKind>,
) -> (Metrics, ()) {
    let metrics = Metrics::default();
    tell_tried(&metrics, service, endpoint, status, failure);
    (metrics, ())
}

fn tell_tried(
    metrics: &Metrics,
    service: &ServiceName,
    endpoint: &Endpoint,
    status: Option<u16>,
    failure: Option<FailureKind>,
) {
    let outcome = if failure.is_some() { Outcome::Failure } else { Outcome::Success };
    let elapsed = Duration::from_millis(4);
    metrics.observe(&Event::Tried {
        service,
        endpoint,
        attempt: 0,
        status,
        failure,
        outcome,
        elapsed,
    });
}

fn tell_finished(
    metrics: &Metrics,
    service: &ServiceName,
    route: &RouteName,
    method: &'static str,
    status: u16,
) {
    metrics.observe(&Event::Finished {
        service,
        route,
        method,
        status: Some(status),
        outcome: Outcome::Success,
        elapsed: Duration::from_millis(4),
        tries: 1,
    });
}

#[test]
fn each_counter_is_exactly_what_happened() {
    let metrics = Metrics::default();
    let (stock, route) = (service("stock"), RouteName::default());
    let one = endpoint("stock", 80);
    for _ in 0..3 {
        tell_tried(&metrics, &stock, &one, Some(200), None);
    }
    for _ in 0..2 {
        tell_tried(&metrics, &stock, &one, None, Some(FailureKind::ConnectFailure));
    }
    tell_tried(&metrics, &stock, &one, Some(503), None);
    for _ in 0..5 {
        tell_finished(&metrics, &stock, &route, "GET", 200);
    }
    let rejected = Rejected::NoEndpoint { service: stock.clone() };
    let span = Duration::from_secs(30);
    for event in [
        Event::Rejected { rejected: &rejected, route: &route },
        Event::Retried { service: &stock, attempt: 1, hedge: false },
        Event::Retried { service: &stock, attempt: 2, hedge: true },
        Event::RetryForbidden { service: &stock, why: "budget" },
        Event::CircuitChanged {
            service: &stock,
            route: &route,
            from: CircuitState::Closed,
            to: CircuitState::Open,
        },
        Event::Ejected {
            service: &stock,
            endpoint: &one,
            cause: EjectionCause::ConsecutiveErrors,
            span,
        },
        Event::Returned { service: &stock, endpoint: &one },
        Event::Panicking { service: &stock, begins: true },
        Event::Panicking { service: &stock, begins: false },
        Event::SetChanged {
            service: &stock,
            version: 7,
            instances: 3,
            usable: 2,
            freshness: Freshness::Stale,
        },
        Event::HoldingEmpty { service: &stock, begins: true },
        Event::Registry { connected: false, class: "refused" },
        Event::Registry { connected: true, class: "" },
        Event::Registration { service: &stock, state: RegistrationState::Restored },
    ] {
        metrics.observe(&event);
    }
    let samples = samples(&page(&metrics));
    let s = r#"outrigger_service="stock""#;
    for (series, wanted) in [
        (format!(r#"outrigger_tries_total{{{s},outrigger_endpoint="127.0.0.1:80",outrigger_result="2xx"}}"#), 3.0),
        (format!(r#"outrigger_tries_total{{{s},outrigger_endpoint="127.0.0.1:80",outrigger_result="connect_failure"}}"#), 2.0),
        (format!(r#"outrigger_tries_total{{{s},outrigger_endpoint="127.0.0.1:80",outrigger_result="5xx"}}"#), 1.0),
        (format!(r#"outrigger_try_duration_seconds_count{{{s},outrigger_outcome="success"}}"#), 4.0),
        (r#"http_client_request_duration_seconds_count{http_request_method="GET",server_address="stock",outrigger_route="default",http_response_status_code="200",outrigger_outcome="success"}"#.to_owned(), 5.0),
        (format!(r#"outrigger_rejections_total{{{s},outrigger_route="default",outrigger_reason="no_endpoint"}}"#), 1.0),
        (format!(r#"outrigger_retries_total{{{s},outrigger_kind="retry"}}"#), 1.0),
        (format!(r#"outrigger_retries_total{{{s},outrigger_kind="hedge"}}"#), 1.0),
        (format!(r#"outrigger_retries_forbidden_total{{{s},outrigger_why="budget"}}"#), 1.0),
        (format!(r#"outrigger_circuit_state{{{s},outrigger_route="default"}}"#), 2.0),
        (format!(r#"outrigger_circuit_transitions_total{{{s},outrigger_route="default",outrigger_to="open"}}"#), 1.0),
        (format!(r#"outrigger_ejections_total{{{s},outrigger_cause="consecutive_errors"}}"#), 1.0),
        (format!("outrigger_returns_total{{{s}}}"), 1.0),
        (format!("outrigger_panics_total{{{s}}}"), 1.0),
        (format!("outrigger_panicking{{{s}}}"), 0.0),
        (format!("outrigger_set_instances{{{s}}}"), 3.0),
        (format!("outrigger_set_usable{{{s}}}"), 2.0),
        (format!("outrigger_set_version{{{s}}}"), 7.0),
        (format!("outrigger_set_changes_total{{{s}}}"), 1.0),
        (format!("outrigger_set_stale{{{s}}}"), 1.0),
        (format!("outrigger_holds_total{{{s}}}"), 1.0),
        (format!("outrigger_holding{{{s}}}"), 1.0),
        ("outrigger_registry_connected".to_owned(), 1.0),
        (r#"outrigger_registry_errors_total{outrigger_class="refused"}"#.to_owned(), 1.0),
        (format!(r#"outrigger_registration_events_total{{{s},outrigger_state="restored"}}"#), 1.0),
    ] {
        assert_eq!(samples.get(&series), Some(&wanted), "{series}\n{samples:#?}");
    }
}

#[test]
fn counters_stay_true_when_many_threads_count() {
    let metrics = Metrics::default();
    let (stock, route) = (service("stock"), RouteName::default());
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for status in 0..2_000 {
                    tell_finished(&metrics, &stock, &route, "GET", 200 + status % 40);
                }
            });
        }
    });
    let all = samples(&page(&metrics));
    let count: f64 = all
        .iter()
        .filter(|(k, _)| k.contains("client_request_duration_seconds_count"))
        .map(|(_, v)| v)
        .sum();
    assert!((count - 16_000.0).abs() < 0.5, "{count}");
}

#[test]
fn a_histogram_is_cumulative_and_ends_with_all() {
    let (metrics, ()) = tried(&service("stock"), &endpoint("stock", 80), Some(200), None);
    let page = page(&metrics);
    let buckets: Vec<_> =
        page.lines().filter(|l| l.starts_with("outrigger_try_duration_seconds_bucket")).collect();
    assert_eq!(buckets.len(), 15);
    assert!(buckets[0].contains(r#"le="0.005""#) && buckets[0].ends_with(" 1"));
    assert!(buckets[14].contains(r#"le="+Inf""#) && buckets[14].ends_with(" 1"));
    assert!(page.contains("outrigger_try_duration_seconds_sum{outrigger_service=\"stock\",outrigger_outcome=\"success\"} 0.004"));
}

/// Every label as long as it may be, and a million of them: what an attacker with a free choice of
/// names could do.
fn storm(metrics: &Metrics, rounds: u64) {
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..rounds {
        let name =
            |most: usize| format!("{round:0>16x}").repeat(8).chars().take(most).collect::<String>();
        let service = ServiceName::new(&name(128)).expect("valid");
        let route = RouteName::new(&name(64)).expect("valid");
        let status = rng.u16(100..1000);
        tell_finished(metrics, &service, &route, "OPTIONS", status);
        let ip = Ipv6Addr::from(rng.u128(u128::MAX / 2..));
        let address = SocketAddr::V6(SocketAddrV6::new(ip, 65_535, 0, u32::MAX));
        let id = InstanceId::new("x").expect("valid");
        let endpoint =
            Endpoint::new(Arc::new(Instance::new(id, service.clone(), address)), address);
        tell_tried(metrics, &service, &endpoint, None, Some(FailureKind::ConnectFailure));
        let rejected = Rejected::RateLimited {
            service: service.clone(),
            retry_after: Duration::ZERO,
            limit: None,
            grpc_status: None,
        };
        metrics.observe(&Event::Rejected { rejected: &rejected, route: &route });
        metrics.observe(&Event::Retried { service: &service, attempt: 1, hedge: false });
        metrics.observe(&Event::RetryForbidden { service: &service, why: "attempts" });
        let (reason, rule) = (Reason::RateLimited, name(128));
        let (service, route, rule) = (&service, &route, &*rule);
        metrics.observe(&Event::Spared { service, route, reason, rule });
        metrics.observe(&Event::FaultInjected { service, route, kind: "delay" });
        metrics.observe(&Event::FallbackServed { service, route, kind: "service" });
        metrics.observe(&Event::Mirrored { service, route, result: "incomplete" });
        metrics.observe(&Event::Shedding { service, admits: Ratio::HALF, begins: true });
        let (service, route) = (service.clone(), route.clone());
        metrics.observe(&Event::CircuitChanged {
            service: &service,
            route: &route,
            from: CircuitState::Open,
            to: CircuitState::HalfOpen,
        });
        metrics.observe(&Event::Ejected {
            service: &service,
            endpoint: &endpoint,
            cause: EjectionCause::ConsecutiveErrors,
            span: Duration::ZERO,
        });
        metrics.observe(&Event::Returned { service: &service, endpoint: &endpoint });
        metrics.observe(&Event::Panicking { service: &service, begins: true });
        metrics.observe(&Event::SetChanged {
            service: &service,
            version: u64::MAX,
            instances: usize::MAX,
            usable: usize::MAX,
            freshness: Freshness::Held,
        });
        metrics.observe(&Event::HoldingEmpty { service: &service, begins: true });
        metrics.observe(&Event::Registration {
            service: &service,
            state: RegistrationState::HeartbeatMissed,
        });
    }
}

#[test]
fn a_storm_of_names_leaves_the_page_small_and_the_sums_true() {
    let metrics = Metrics::default();
    let rounds = 20_000;
    storm(&metrics, rounds);
    let page = page(&metrics);
    assert!(page.len() <= MAX_PAGE, "{} bytes", page.len());
    let mut open = String::new();
    metrics.encode_openmetrics(&mut open);
    assert!(open.len() <= MAX_PAGE, "{} bytes of OpenMetrics", open.len());
    let samples = samples(&page);
    let sum = |name: &str| -> f64 {
        let of = |(k, _): &(&String, &f64)| k.split('{').next() == Some(name);
        samples.iter().filter(of).map(|(_, v)| v).sum()
    };
    for name in [
        "http_client_request_duration_seconds_count",
        "outrigger_try_duration_seconds_count",
        "outrigger_tries_total",
        "outrigger_rejections_total",
        "outrigger_retries_total",
        "outrigger_spared_total",
        "outrigger_faults_total",
        "outrigger_fallbacks_total",
        "outrigger_mirrors_total",
        "outrigger_ejections_total",
        "outrigger_set_changes_total",
    ] {
        assert!((sum(name) - rounds as f64).abs() < 0.5, "{name}: {}", sum(name));
    }
    assert!(sum("outrigger_telemetry_overflow_total") > 0.0, "the page says that it is cut");
    println!("{} series, {} bytes", samples.len(), page.len());
}

#[test]
fn one_service_with_many_endpoints_does_not_hide_the_others() {
    let metrics = Metrics::default();
    let (noisy, quiet) = (service("noisy"), service("quiet"));
    for port in 1..20_000 {
        tell_tried(&metrics, &noisy, &endpoint("noisy", port), Some(200), None);
    }
    tell_tried(&metrics, &quiet, &endpoint("quiet", 80), Some(200), None);
    let page = page(&metrics);
    let other = r#"outrigger_tries_total{outrigger_service="quiet",outrigger_endpoint="_other""#;
    assert!(page.contains(other), "the service is still told apart");
}

#[test]
fn both_pages_hold_every_metric_by_its_name() {
    let (metrics, ()) = tried(&service("stock"), &endpoint("stock", 80), Some(200), None);
    let text = page(&metrics);
    let mut open = String::new();
    metrics.encode_openmetrics(&mut open);
    for metric in CATALOGUE {
        let name = metric.prometheus_name();
        let total = if metric.kind == MetricKind::Counter { "_total" } else { "" };
        assert!(
            text.contains(&format!("# TYPE {name}{total} {}\n", metric.kind.as_str())),
            "{name}"
        );
        assert!(open.contains(&format!("# TYPE {name} {}\n", metric.kind.as_str())), "{name}");
    }
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("outrigger_try_duration_seconds_count{outrigger_service=\"stock\",outrigger_outcome=\"success\"} 1"), "{open}");
    assert!(open.contains("# UNIT outrigger_try_duration_seconds seconds"));
}

#[test]
fn who_measures_is_told_and_escaped() {
    let metrics = Metrics::new(vec![("service.name".into(), "a\"b\\c\nd".into())]);
    let page = page(&metrics);
    assert!(page.contains(r#"target_info{service_name="a\"b\\c\nd"} 1"#), "{page}");
}
