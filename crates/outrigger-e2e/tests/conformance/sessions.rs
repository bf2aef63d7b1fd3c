//! Sessions, and the locks that they hold.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a session has defaults", script: defaults },
    Case { name: "a session is listed, renewed and destroyed", script: life },
    Case { name: "settings of a session are checked", script: checked },
    Case { name: "an absent session is an empty list", script: absent },
    Case { name: "a lock is held by one session at a time", script: lock },
    Case { name: "a lock needs a session", script: needs_session },
    Case { name: "an ended session frees its lock after the delay", script: delay },
    Case { name: "an ended session deletes its keys when it is told to", script: deletes },
    Case { name: "a session ends with its check", script: ends_with_check },
    Case { name: "a critical check gives no session", script: critical_check },
    Case { name: "a plain write keeps the lock", script: plain_write },
    Case { name: "a session is watched until it ends", script: watched },
];

const NONE: Value = Value::Null;
const GHOST: &str = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";

fn create(run: &mut Run<'_>, body: &Value) -> String {
    run.put("/v1/session/create", body).status(200).text_at("/ID")
}

fn defaults(run: &mut Run<'_>) {
    let id = run.put_raw("/v1/session/create", "").status(200).text_at("/ID");
    run.get(&format!("/v1/session/info/{id}"))
        .has("/0/LockDelay", 15_000_000_000_u64)
        .has("/0/Behavior", "release")
        .has("/0/NodeChecks", json!(["serfHealth"]))
        .done();
}

fn life(run: &mut Run<'_>) {
    let id = create(
        run,
        &json!({"Name": "mine", "TTL": "15s", "LockDelay": "3s", "Behavior": "delete"}),
    );
    create(run, &json!({"Name": "other", "LockDelay": 4, "Checks": []}));
    run.get("/v1/session/list").counts(2).done();
    run.get("/v1/session/node/node-1").counts(2).done();
    run.get("/v1/session/node/nope").is(json!([])).done();
    run.put(&format!("/v1/session/renew/{id}"), &NONE).has("/0/TTL", "15s").done();
    run.put(&format!("/v1/session/destroy/{id}"), &NONE).says(200, "true");
    run.put(&format!("/v1/session/destroy/{id}"), &NONE).says(200, "true");
    run.get(&format!("/v1/session/info/{id}")).is(json!([])).done();
    run.put(&format!("/v1/session/renew/{GHOST}"), &NONE)
        .says(404, &format!("Session id '{GHOST}' not found"));
}

fn checked(run: &mut Run<'_>) {
    let mut refused = |body: Value, why: &str| {
        run.put("/v1/session/create", &body).says(500, why);
    };
    refused(
        json!({"TTL": "5s"}),
        "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]",
    );
    refused(json!({"TTL": "x"}), "Session TTL 'x' invalid: time: invalid duration \"x\"");
    refused(json!({"Behavior": "x"}), "Invalid Behavior setting 'x'");
    refused(json!({"Node": "nope"}), "apply failed: Missing node registration");
    refused(json!({"Checks": ["nope"]}), "apply failed: Missing check 'nope' registration");
    run.put_raw("/v1/session/create", "{").says(400, "Request decode failed: unexpected EOF");
    for path in ["/v1/session/destroy/", "/v1/session/renew/"] {
        run.put(path, &NONE).says(400, "Missing session");
    }
    run.get("/v1/session/node/").says(400, "Missing node name");
}

fn absent(run: &mut Run<'_>) {
    run.get(&format!("/v1/session/info/{GHOST}")).is(json!([])).done();
    run.get("/v1/session/info/short").is(json!([])).done();
    run.get("/v1/session/list").is(json!([])).done();
}

fn lock(run: &mut Run<'_>) {
    let body = json!({"LockDelay": "0s"});
    let (a, b) = (create(run, &body), create(run, &body));
    let acquire = |id: &str| format!("/v1/kv/lock/leader?acquire={id}");
    let release = |id: &str| format!("/v1/kv/lock/leader?release={id}");
    run.put_raw(&acquire(&a), "a").says(200, "true");
    run.put_raw(&acquire(&b), "b").says(200, "false");
    run.put_raw(&acquire(&a), "a2").says(200, "true");
    run.get("/v1/kv/lock/leader").has("/0/LockIndex", 1).has("/0/Session", a.as_str()).done();
    run.put_raw(&release(&b), "").says(200, "false");
    run.put_raw(&release(&a), "free").says(200, "true");
    run.get("/v1/kv/lock/leader").has("/0/LockIndex", 1).done();
    run.put_raw(&acquire(&b), "b").says(200, "true");
    run.get("/v1/kv/lock/leader").has("/0/LockIndex", 2).has("/0/Session", b.as_str()).done();
    run.delete("/v1/kv/lock/leader").says(200, "true");
    run.put_raw(&acquire(&a), "a").says(200, "true");
}

fn needs_session(run: &mut Run<'_>) {
    run.put_raw(&format!("/v1/kv/l?acquire={GHOST}"), "x")
        .says(500, &format!("raft apply failed: invalid session \"{GHOST}\""));
    run.put_raw("/v1/kv/l?acquire=", "x").says(500, "raft apply failed: missing session");
    run.put_raw(&format!("/v1/kv/l?release={GHOST}"), "x").says(200, "false");
    run.get("/v1/kv/l").says(404, "");
}

fn delay(run: &mut Run<'_>) {
    let (a, b) = (create(run, &json!({"LockDelay": "1s"})), create(run, &json!({})));
    run.put_raw(&format!("/v1/kv/held?acquire={a}"), "a").says(200, "true");
    run.put(&format!("/v1/session/destroy/{a}"), &NONE).says(200, "true");
    run.get("/v1/kv/held?raw").says(200, "a");
    run.put_raw(&format!("/v1/kv/held?acquire={b}"), "b").says(200, "false");
    run.await_put(&format!("/v1/kv/held?acquire={b}"), b"b", |a| a.text().trim() == "true");
    run.get("/v1/kv/held").has("/0/Session", b.as_str()).done();
}

fn deletes(run: &mut Run<'_>) {
    let id = create(run, &json!({"Behavior": "delete", "LockDelay": "0s"}));
    for key in ["tmp/1", "tmp/2"] {
        run.put_raw(&format!("/v1/kv/{key}?acquire={id}"), "x").says(200, "true");
    }
    run.put_raw("/v1/kv/tmp/3", "stays").says(200, "true");
    run.put(&format!("/v1/session/destroy/{id}"), &NONE).says(200, "true");
    run.get("/v1/kv/tmp/?keys").is(json!(["tmp/3"])).done();
}

fn ends_with_check(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}}));
    let id = create(run, &json!({"Checks": ["serfHealth", "service:web"], "LockDelay": "0s"}));
    run.put_raw(&format!("/v1/kv/l?acquire={id}"), "x").says(200, "true");
    run.put("/v1/agent/check/fail/service:web", &NONE).says(200, "");
    run.until(&format!("/v1/session/info/{id}"), |a| a.text().trim() == "[]").status(200).done();
    run.get("/v1/kv/l?raw").says(200, "x");
    let text = run.ask("GET", "/v1/kv/l", b"").text();
    assert!(!text.contains("Session"), "the lock is free: {text}");
}

fn critical_check(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    run.put("/v1/session/create", &json!({"Checks": ["service:web"]}))
        .says(500, "apply failed: Check 'service:web' is in critical state");
}

fn plain_write(run: &mut Run<'_>) {
    let id = create(run, &json!({"LockDelay": "0s"}));
    run.put_raw(&format!("/v1/kv/l?acquire={id}"), "x").says(200, "true");
    run.put_raw("/v1/kv/l", "y").says(200, "true");
    run.get("/v1/kv/l").has("/0/Session", id.as_str()).done();
    run.put_raw("/v1/kv/l?cas=1", "z").says(200, "false");
}

fn watched(run: &mut Run<'_>) {
    let id = create(run, &json!({}));
    let path = format!("/v1/session/info/{id}");
    let index = run.get(&path).index();
    let (heard, _) = run.blocked(&format!("{path}?wait=20s&index={index}"), |run| {
        run.put(&format!("/v1/session/destroy/{id}"), &NONE).says(200, "true");
    });
    assert!(heard.index() > index);
    heard.is(json!([])).done();
}
