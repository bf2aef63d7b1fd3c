//! The service `stock`, watched at a scripted agent.

use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{ServiceName, Snapshot};
use outrigger_discovery::{Query, SnapshotStream};

use crate::fake::{Act, Question, ok};

pub(crate) const HEALTH: &str = "/v1/health/service/";

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

pub(crate) fn stock() -> Query {
    Query::new(name("stock"))
}

pub(crate) async fn until(
    watch: &mut SnapshotStream,
    most: Duration,
    what: &str,
    fits: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let waiting = async {
        loop {
            let snapshot = watch.next().await.expect("a stream does not end");
            if fits(&snapshot) {
                return snapshot;
            }
        }
    };
    let waited = tokio::time::timeout(most, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {most:?}"))
}

/// Answers what is asked beside the health of services.
pub(crate) fn aside(question: &Question) -> Option<Act> {
    if question.target.starts_with("/v1/status") {
        return Some(Act::Answer(ok(1, "\"127.0.0.1:8300\"")));
    }
    if question.target.starts_with("/v1/catalog/services") {
        return Some(Act::Answer(ok(1, r#"{"consul":[]}"#)));
    }
    None
}
