//! How everybody in the demo joins: the same few lines that a user writes. The rules are the
//! policies' in the registry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use outrigger::Fleet;
use outrigger::core::{Language, Ratio};
use outrigger::telemetry::{AccessLogTo, SpanSink};

use super::board::Board;
use super::instance::Join;
use super::services::Role;

/// How long the registry waits for a heartbeat: short, so that a demo of a minute shows it.
const TTL: Duration = Duration::from_secs(5);

/// The version of instances that only stand in for a service in another language.
pub(crate) const STAND_IN: &str = "0.0.0-stand-in";

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
        let [figures, events] = self.board.observers(name);
        outrigger::builder(name)
            // What goes wrong here goes wrong on purpose, and is told in the chapters.
            .access_log(AccessLogTo::Nowhere)
            .consul(self.registry.clone())
            .version(env!("CARGO_PKG_VERSION"))
            .ttl(TTL)
            .observer(figures)
            .observer(events)
            // Many members in one process: its page shows them all.
            .without_admin()
            .span_sink(Arc::clone(&self.spans))
            .sample_ratio(sample)
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

/// Joins on behalf of instances that stand in for a service in Java: the demo's fleet has only
/// Rust, and a split between two languages needs two.
#[derive(Debug)]
pub(crate) struct StandIns(pub(crate) Arc<Joiner>);

impl Join for StandIns {
    async fn join(&self, role: Role) -> Result<Fleet> {
        let builder = self.0.builder(role.as_str(), Ratio::ZERO);
        Ok(builder.language(Language::Java).version(STAND_IN).join().await?)
    }
}
