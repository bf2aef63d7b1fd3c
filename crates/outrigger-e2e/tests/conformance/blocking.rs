//! Blocking queries: when they wait, when they wake, and what their index says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a watch wakes when an instance comes", script: wakes_on_registration },
    Case { name: "a watch wakes when a check changes", script: wakes_on_check },
    Case { name: "a watch wakes when an instance goes", script: wakes_on_deregistration },
    Case {
        name: "a watch of an absent service wakes when it appears",
        script: wakes_on_appearance,
    },
    Case {
        name: "a watch sleeps through changes of other services",
        script: sleeps_through_others,
    },
    Case { name: "a wait that ends answers with the same index", script: wait_ends },
    Case { name: "heartbeats that change nothing wake nobody", script: heartbeats },
    Case { name: "indexes only grow", script: monotonic },
    Case { name: "an old index answers at once", script: old_index },
    Case { name: "the list of services can be watched", script: watches_names },
    Case { name: "the list of nodes can be watched", script: watches_nodes },
    Case { name: "a key can be watched", script: watches_key },
    Case { name: "an absent key can be watched", script: watches_absent_key },
    Case { name: "a prefix can be watched, deletions count", script: watches_prefix },
    Case { name: "stale and consistent reads say so", script: consistency },
    Case { name: "a watch holds while the agent is stopped", script: stopped },
];

const SOON: Duration = Duration::from_secs(5);

fn watch(index: u64, of: &str) -> String {
    let sep = if of.contains('?') { '&' } else { '?' };
    format!("{of}{sep}wait=20s&index={index}")
}

fn wakes_on_registration(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a"}));
    let index = run.get("/v1/health/service/web").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/health/service/web"), |run| {
        run.put("/v1/agent/service/register", &json!({"Name": "web", "ID": "b"}))
            .status(200)
            .done();
    });
    assert!(after < SOON, "{after:?}");
    assert!(heard.index() > index);
    heard.counts(2).done();
}

fn wakes_on_check(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    let index = run.get("/v1/health/service/web").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/health/service/web"), |run| {
        run.put("/v1/agent/check/pass/service:web", &Value::Null).status(200).done();
    });
    assert!(after < SOON, "{after:?}");
    assert!(heard.index() > index);
    heard.has("/0/Checks/1/Status", "passing").done();
}

fn wakes_on_deregistration(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a"}));
    run.register(&json!({"Name": "web", "ID": "b"}));
    let index = run.get("/v1/catalog/service/web").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/catalog/service/web"), |run| {
        run.put("/v1/agent/service/deregister/a", &Value::Null).status(200).done();
    });
    assert!(after < SOON, "{after:?}");
    heard.counts(1).has("/0/ServiceID", "b").done();
    let index = run.get("/v1/health/service/web").index();
    let (heard, _) = run.blocked(&watch(index, "/v1/health/service/web"), |run| {
        run.put("/v1/agent/service/deregister/b", &Value::Null).status(200).done();
    });
    assert!(heard.index() > index, "even the last one's going raises the index");
    heard.is(json!([])).done();
}

fn wakes_on_appearance(run: &mut Run<'_>) {
    // The index of an absent service is that of the last vanished one; have one.
    run.register(&json!({"Name": "gone"}));
    run.put("/v1/agent/service/deregister/gone", &Value::Null).status(200).done();
    let empty = run.until("/v1/health/service/gone", |a| a.text().trim() == "[]");
    empty.done();
    let index = run.get("/v1/health/service/web").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/health/service/web"), |run| {
        run.put("/v1/agent/service/register", &json!({"Name": "web"})).status(200).done();
    });
    assert!(after < SOON, "{after:?}");
    heard.counts(1).done();
}

fn sleeps_through_others(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    let index = run.get("/v1/health/service/web").index();
    let path = format!("/v1/health/service/web?wait=1s&index={index}");
    let (heard, after) = run.blocked(&path, |run| {
        run.put("/v1/agent/service/register", &json!({"Name": "other"})).status(200).done();
    });
    assert!(after > Duration::from_millis(500), "woke after {after:?}");
    assert_eq!(heard.index(), index);
}

fn wait_ends(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    let index = run.get("/v1/health/service/web").index();
    let path = format!("/v1/health/service/web?wait=500ms&index={index}");
    let (heard, after) = run.blocked(&path, |_| {});
    assert_eq!(heard.index(), index);
    let waited = after + Duration::from_millis(200);
    assert!(waited > Duration::from_millis(450), "waited {waited:?}");
    assert!(waited < Duration::from_millis(500 + 500 / 16 + 1000), "waited {waited:?}");
    heard.counts(1).done();
}

fn heartbeats(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}}));
    let index = run.get("/v1/health/service/web").index();
    let path = format!("/v1/health/service/web?wait=800ms&index={index}");
    let (heard, after) = run.blocked(&path, |run| {
        for note in ["a", "b"] {
            run.put(&format!("/v1/agent/check/pass/service:web?note={note}"), &Value::Null)
                .status(200)
                .done();
        }
    });
    assert!(after > Duration::from_millis(300), "woke after {after:?}");
    assert_eq!(heard.index(), index, "an output that changed alone is told later");
}

fn monotonic(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "w", "Check": {"TTL": "1h"}}));
    let mut last = run.get("/v1/health/service/web").index();
    for round in 0..5 {
        let verb = if round % 2 == 0 { "pass" } else { "fail" };
        let status = if round % 2 == 0 { "passing" } else { "critical" };
        run.put(&format!("/v1/agent/check/{verb}/service:w"), &Value::Null).status(200).done();
        let heard = run.until("/v1/health/service/web", |a| {
            a.json().is_some_and(|v| v[0]["Checks"][1]["Status"] == status)
        });
        assert!(heard.index() > last, "{} after {last}", heard.index());
        last = heard.index();
    }
}

fn old_index(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a"}));
    let index = run.get("/v1/health/service/web").index();
    run.register(&json!({"Name": "web", "ID": "b"}));
    let heard = run.get(&watch(index, "/v1/health/service/web"));
    assert!(heard.index() > index);
    heard.counts(2).done();
    run.get("/v1/health/service/web?index=0&wait=20s").counts(2).done();
}

fn watches_names(run: &mut Run<'_>) {
    let index = run.get("/v1/catalog/services").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/catalog/services"), |run| {
        run.put("/v1/agent/service/register", &json!({"Name": "web", "Tags": ["t"]}))
            .status(200)
            .done();
    });
    assert!(after < SOON, "{after:?}");
    heard.has("/web", json!(["t"])).done();
}

fn watches_nodes(run: &mut Run<'_>) {
    let index = run.get("/v1/catalog/nodes").index();
    let (heard, _) = run.blocked(&watch(index, "/v1/catalog/nodes"), |run| {
        let node = json!({"Node": "ext", "Address": "10.1.1.1"});
        run.put("/v1/catalog/register", &node).says(200, "true");
    });
    assert!(heard.index() > index);
    heard.counts(2).done();
}

fn watches_key(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/app/x", "1").says(200, "true");
    let index = run.get("/v1/kv/app/x").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/kv/app/x?raw"), |run| {
        run.put_raw("/v1/kv/app/x", "2").says(200, "true");
    });
    assert!(after < SOON, "{after:?}");
    assert_eq!(heard.answer.text(), "2");
    let index = heard.index();
    let path = format!("/v1/kv/app/x?wait=500ms&index={index}");
    let (heard, _) = run.blocked(&path, |run| {
        run.put_raw("/v1/kv/app/other", "2").says(200, "true");
        run.put_raw("/v1/kv/app/x", "2").says(200, "true");
    });
    assert_eq!(heard.index(), index, "the same value again is no change");
}

fn watches_absent_key(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/app/any", "1").says(200, "true");
    let heard = run.get("/v1/kv/app/absent").status(404);
    let index = heard.index();
    let (heard, after) = run.blocked(&watch(index, "/v1/kv/app/absent"), |run| {
        run.put_raw("/v1/kv/app/absent", "here").says(200, "true");
    });
    assert!(after < SOON, "{after:?}");
    let index = heard.status(200).index();
    let (heard, _) = run.blocked(&watch(index, "/v1/kv/app/absent"), |run| {
        run.delete("/v1/kv/app/absent").says(200, "true");
    });
    heard.status(404).done();
}

fn watches_prefix(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/app/a", "1").says(200, "true");
    run.put_raw("/v1/kv/app/b", "1").says(200, "true");
    let index = run.get("/v1/kv/app/?recurse").index();
    let (heard, after) = run.blocked(&watch(index, "/v1/kv/app/?recurse"), |run| {
        run.delete("/v1/kv/app/a").says(200, "true");
    });
    assert!(after < SOON, "{after:?}");
    assert!(heard.index() > index);
    let index = heard.index();
    heard.counts(1).done();
    let path = format!("/v1/kv/app/?keys&wait=500ms&index={index}");
    let (heard, _) = run.blocked(&path, |run| {
        run.put_raw("/v1/kv/elsewhere", "1").says(200, "true");
    });
    assert_eq!(heard.index(), index, "keys elsewhere do not count");
}

fn consistency(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    for level in ["stale", "consistent"] {
        run.get(&format!("/v1/health/service/web?{level}")).counts(1).done();
        run.get(&format!("/v1/catalog/services?{level}")).status(200).done();
    }
    run.get("/v1/health/service/web?stale&consistent")
        .says(400, "Cannot specify ?stale with ?consistent, conflicting semantics.");
}

fn stopped(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    let index = run.get("/v1/health/service/web").index();
    let path = format!("/v1/health/service/web?wait=300ms&index={index}");
    let (heard, after) = run.blocked(&path, |run| {
        run.target().pause();
        let address = run.target().address();
        let ask = outrigger_e2e::raw::Ask {
            timeout: Duration::from_millis(800),
            ..outrigger_e2e::raw::Ask::new("GET", "/v1/status/leader")
        };
        assert!(ask.send(address).is_err(), "a stopped agent answers nobody");
        run.target().resume();
    });
    assert!(after < SOON, "{after:?}");
    heard.counts(1).done();
}
