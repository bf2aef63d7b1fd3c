//! User events. They stay in an agent's list, so each case looks for its own names.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "an event is fired and listed", script: fired },
    Case { name: "an event for others is not listed here", script: for_others },
    Case { name: "an event without payload has none", script: no_payload },
    Case { name: "events are watched by the index of the newest", script: watched },
    Case { name: "events are asked for properly", script: properly },
];

fn fired(run: &mut Run<'_>) {
    let heard =
        run.put_raw("/v1/event/fire/deploy", "v2").has("/Payload", "djI=").has("/Version", 1);
    let id = heard.text_at("/ID");
    let heard = run.until("/v1/event/list?name=deploy", |a| a.text().contains(&id)).counts(1);
    assert_eq!(heard.text_at("/0/ID"), id);
    run.get("/v1/event/list?name=nothing-of-this-name").is(json!([])).done();
}

fn for_others(run: &mut Run<'_>) {
    run.put_raw("/v1/event/fire/away?node=another", "x").has("/NodeFilter", "another").done();
    run.put_raw("/v1/event/fire/away?service=absent&tag=t", "x").has("/TagFilter", "t").done();
    run.put_raw("/v1/event/fire/here?node=node-1", "x").status(200).done();
    run.until("/v1/event/list?name=here", |a| a.text().contains("here")).counts(1).done();
    run.get("/v1/event/list?name=away").is(json!([])).done();
}

fn no_payload(run: &mut Run<'_>) {
    run.put_raw("/v1/event/fire/bare", "").has("/Payload", Value::Null).done();
}

fn watched(run: &mut Run<'_>) {
    run.put_raw("/v1/event/fire/tick", "1").status(200).done();
    let index = run.until("/v1/event/list?name=tick", |a| a.text().contains("tick")).index();
    let path = format!("/v1/event/list?name=tick&wait=20s&index={index}");
    let (heard, _) = run.blocked(&path, |run| {
        run.put_raw("/v1/event/fire/tick", "2").status(200).done();
    });
    assert_ne!(heard.index(), index);
    heard.counts(2).done();
}

fn properly(run: &mut Run<'_>) {
    run.put_raw("/v1/event/fire/", "x").says(400, "Missing name");
    run.put_raw("/v1/event/fire/e?tag=t", "x")
        .says(500, "Cannot provide tag filter without service filter");
    run.put_raw("/v1/event/fire/big", "x".repeat(301)).says(
        413,
        "Event payload too large, received 301 bytes, max size: 300 bytes. User events should be kept small for efficient gossip propagation.",
    );
    run.get("/v1/event/fire/x").says(405, "method GET not allowed");
}
