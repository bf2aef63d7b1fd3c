//! How everybody in the demo joins: the same few lines that a user writes, with the demo's rules.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use outrigger::balance::{Algorithm, EjectConfig, SlowStart};
use outrigger::breaker::{BreakerConfig, Window};
use outrigger::core::Ratio;
use outrigger::retry::Condition;
use outrigger::telemetry::SpanSink;
use outrigger::{Fleet, Rules};

use super::board::Board;
use super::instance::Join;
use super::services::Role;

/// How long the registry waits for a heartbeat: short, so that a demo of a minute shows it.
const TTL: Duration = Duration::from_secs(5);

/// Joins on behalf of everybody.
#[derive(Debug)]
pub(crate) struct Joiner {
    registry: String,
    board: Arc<Board>,
    spans: Arc<dyn SpanSink>,
}

impl Joiner {
    pub(crate) fn new(registry: String, board: Arc<Board>, spans: Arc<dyn SpanSink>) -> Arc<Self> {
        Arc::new(Self { registry, board, spans })
    }

    fn builder(&self, name: &str, sample: Ratio) -> outrigger::Builder {
        let mut builder = outrigger::builder(name)
            .consul(self.registry.clone())
            .version(env!("CARGO_PKG_VERSION"))
            .ttl(TTL)
            .observer(self.board.observer(name))
            .span_sink(Arc::clone(&self.spans))
            .sample_ratio(sample);
        for (service, rules) in rules() {
            builder = builder.rules_for(service, rules);
        }
        builder
    }

    /// A caller that is no service of the fleet and where traces begin: one request in a hundred
    /// is recorded.
    pub(crate) async fn visitors(&self) -> Result<Fleet> {
        Ok(self.builder("visitors", Ratio::from_percent(1)).join().await?)
    }
}

impl Join for Joiner {
    async fn join(&self, role: Role) -> Result<Fleet> {
        // Whoever is called obeys the caller's decision; nothing begins here.
        Ok(self.builder(role.as_str(), Ratio::ZERO).join().await?)
    }
}

/// The demo's rules: quicker than the defaults, so that a minute shows trouble and recovery.
pub(crate) fn rules() -> [(&'static str, Rules); 4] {
    [
        ("storefront", patient()),
        ("orders", patient()),
        ("inventory", impatient()),
        ("pricing", with_circuit()),
    ]
}

/// Retries what failed on the way or on the endpoint, and takes a broken endpoint out.
fn patient() -> Rules {
    let mut rules = Rules::default();
    rules.timeout = Some(Duration::from_secs(5));
    rules.retry.attempts = 2;
    rules.retry.when = vec![
        Condition::ConnectFailure,
        Condition::RefusedStream,
        Condition::Reset,
        Condition::ServerError,
    ];
    let mut slow_start = SlowStart::default();
    slow_start.window = Duration::from_secs(1);
    rules.balance.slow_start = Some(slow_start);
    rules.eject = Some(quick_ejection());
    rules
}

/// The same, and gives up a try that takes too long: these two only read from memory, so whoever
/// accepts and does not answer hangs. Above them a try may wait for one of theirs.
fn impatient() -> Rules {
    let mut rules = patient();
    rules.retry.per_try_timeout = Some(Duration::from_millis(750));
    rules.retry.when.push(Condition::Timeout);
    rules
}

/// The same, with a circuit and by requests in flight: a picker that fears errors less than peak
/// EWMA shows what ejection is for.
fn with_circuit() -> Rules {
    let mut rules = impatient();
    rules.balance.algorithm = Algorithm::LeastRequest;
    let mut breaker = BreakerConfig::default();
    breaker.window = Window::Time(Duration::from_secs(1));
    breaker.open_for = Duration::from_millis(500);
    rules.breaker = Some(breaker);
    rules
}

fn quick_ejection() -> EjectConfig {
    let mut eject = EjectConfig::default();
    eject.consecutive_errors = NonZeroU32::MIN.saturating_add(4);
    eject.interval = Duration::from_millis(250);
    eject.base_time = Duration::from_secs(1);
    eject.max_time = Duration::from_secs(10);
    eject
}
