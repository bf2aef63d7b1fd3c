//! An agent that comes back with an empty memory.

use std::time::Duration;

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a restarted agent knows nothing and counts anew", script: forgets },
    Case { name: "a high index from before sleeps its whole wait", script: stale_index },
];

fn forgets(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    for round in 0..20 {
        run.put_raw("/v1/kv/x", round.to_string()).says(200, "true");
    }
    let before = run.get("/v1/kv/x").index();
    run.target().restart();
    let heard = run.get("/v1/health/service/web").is(json!([]));
    assert!(heard.index() < before, "{} after {before}", heard.index());
    run.get("/v1/kv/x").status(404).done();
    run.put("/v1/agent/check/pass/service:web", &Value::Null).says(
        404,
        "Unknown check ID \"service:web\". Ensure that the check ID is passed, not the check name.",
    );
}

fn stale_index(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    let (heard, after) = run.blocked("/v1/catalog/service/web?wait=1s&index=100000", |run| {
        run.put("/v1/agent/service/register", &json!({"Name": "web", "ID": "b"}))
            .status(200)
            .done();
    });
    assert!(
        after > Duration::from_millis(500),
        "woke after {after:?}: nothing says that it is stale"
    );
    assert!(heard.index() < 100_000);
    heard.counts(2).done();
}
