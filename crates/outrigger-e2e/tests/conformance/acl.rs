//! Access control: default deny, the least privilege of a service, and that of an operator.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "without a token nothing is shown and nothing changes", script: anonymous },
    Case { name: "an unknown token is refused", script: unknown_token },
    Case { name: "a service's policy suffices for its life", script: service_policy },
    Case { name: "a service's policy gives nothing else", script: service_denied },
    Case { name: "an operator's policy pushes policies and takes locks", script: operator_policy },
    Case { name: "a token without rights gets filtered answers", script: filtered },
    Case { name: "exact rules go before prefixes and longer before shorter", script: precedence },
    Case { name: "a token is given in a header, as bearer or in the query", script: carriers },
    Case { name: "a token knows itself", script: knows_itself },
    Case { name: "broken policies are refused", script: broken },
    Case { name: "a tree with a forbidden key is not deleted", script: tree },
];

const NONE: Value = Value::Null;

/// Makes a policy and a token for it; returns the secret. Names are unique per case.
fn token(run: &mut Run<'_>, name: &str, rules: &str) -> String {
    run.with_token(None);
    let policy = json!({"Name": name, "Rules": rules}).to_string();
    let answer = run.ask("PUT", "/v1/acl/policy", policy.as_bytes());
    assert_eq!(answer.status, 200, "{answer}");
    let token = json!({"Description": name, "Policies": [{"Name": name}]}).to_string();
    let answer = run.ask("PUT", "/v1/acl/token", token.as_bytes());
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().expect("a token")["SecretID"].as_str().expect("a secret").to_owned()
}

const SERVICE: &str = r#"
    service "web" { policy = "write" }
    service_prefix "" { policy = "read" }
    node_prefix "" { policy = "read" }
    key_prefix "outrigger/" { policy = "read" }
"#;

const OPERATOR: &str = r#"
    key_prefix "outrigger/" { policy = "write" }
    session_prefix "" { policy = "write" }
"#;

fn anonymous(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    run.put_raw("/v1/kv/outrigger/x", "1").says(200, "true");
    run.with_token(Some(""));
    run.get("/v1/health/service/web").is(json!([])).done();
    run.get("/v1/catalog/services").is(json!({})).done();
    run.get("/v1/catalog/nodes").is(json!([])).done();
    run.get("/v1/agent/services").is(json!({})).done();
    run.get("/v1/kv/outrigger/?recurse").says(404, "");
    run.get("/v1/kv/outrigger/x").status(403).done();
    run.put_raw("/v1/kv/outrigger/x", "2").status(403).done();
    run.put("/v1/agent/service/register", &json!({"Name": "web"})).status(403).done();
    run.put("/v1/agent/service/deregister/web", &NONE).status(403).done();
    run.put("/v1/agent/maintenance?enable=true", &NONE).status(403).done();
    run.put_raw("/v1/session/create", "").status(403).done();
    run.put_raw("/v1/event/fire/x", "").status(403).done();
    run.put("/v1/catalog/register", &json!({"Node": "n", "Address": "10.0.0.1"}))
        .status(403)
        .done();
    run.get("/v1/status/leader").status(200).done();
    run.with_token(None);
    run.get("/v1/health/service/web").counts(1).done();
}

fn unknown_token(run: &mut Run<'_>) {
    run.with_token(Some("00000000-1111-2222-3333-444444444444"));
    run.get("/v1/agent/services").status(403).done();
    run.get("/v1/health/service/web").status(403).done();
    run.get("/v1/kv/x").status(403).done();
    run.put("/v1/agent/service/register", &json!({"Name": "web"})).status(403).done();
}

fn service_policy(run: &mut Run<'_>) {
    let secret = token(run, "service-life", SERVICE);
    run.put_raw("/v1/kv/outrigger/policy", "p").says(200, "true");
    run.with_token(Some(&secret));
    run.register(&json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h"}}));
    run.put("/v1/agent/check/pass/service:web-1", &NONE).says(200, "");
    run.until("/v1/health/service/web?passing", |a| a.text().contains("web-1")).counts(1).done();
    run.get("/v1/agent/services").counts(1).done();
    run.get("/v1/agent/service/web-1").status(200).done();
    run.put("/v1/agent/service/maintenance/web-1?enable=true", &NONE).says(200, "");
    run.get("/v1/kv/outrigger/policy?raw").says(200, "p");
    run.get("/v1/kv/outrigger/?recurse").counts(1).done();
    run.get("/v1/catalog/nodes").counts(1).done();
    run.put("/v1/agent/service/deregister/web-1", &NONE).says(200, "");
}

fn service_denied(run: &mut Run<'_>) {
    let secret = token(run, "service-only", SERVICE);
    run.register(&json!({"Name": "db", "ID": "db-1", "Check": {"TTL": "1h"}}));
    run.with_token(Some(&secret));
    run.put("/v1/agent/service/register", &json!({"Name": "db"})).status(403).done();
    run.put("/v1/agent/service/register", &json!({"Name": "web", "ID": "db-1"})).status(403).done();
    run.put("/v1/agent/service/deregister/db-1", &NONE).status(403).done();
    run.put("/v1/agent/check/pass/service:db-1", &NONE).status(403).done();
    run.put("/v1/agent/check/register", &json!({"Name": "n", "TTL": "1h"})).status(403).done();
    run.put("/v1/agent/maintenance?enable=true", &NONE).status(403).done();
    run.put_raw("/v1/kv/outrigger/policy", "mine").status(403).done();
    run.delete("/v1/kv/outrigger/policy").status(403).done();
    run.get("/v1/kv/secret").status(403).done();
    run.put_raw("/v1/session/create", "").status(403).done();
    run.put_raw("/v1/event/fire/x", "").status(403).done();
    run.get("/v1/acl/tokens").status(403).done();
    let text = run.ask("PUT", "/v1/agent/service/deregister/db-1", b"").text();
    assert!(text.starts_with("Permission denied"), "{text}");
}

fn operator_policy(run: &mut Run<'_>) {
    let secret = token(run, "operator", OPERATOR);
    run.with_token(Some(&secret));
    run.put_raw("/v1/kv/outrigger/policy/orders?cas=0", "p").says(200, "true");
    let id = run
        .put("/v1/session/create", &json!({"LockDelay": "0s", "Checks": []}))
        .status(200)
        .text_at("/ID");
    run.put_raw(&format!("/v1/kv/outrigger/lock?acquire={id}"), "me").says(200, "true");
    run.put_raw(&format!("/v1/kv/outrigger/lock?release={id}"), "").says(200, "true");
    run.put(&format!("/v1/session/renew/{id}"), &NONE).status(200).done();
    run.delete("/v1/kv/outrigger/?recurse").says(200, "true");
    run.put_raw("/v1/kv/elsewhere", "x").status(403).done();
    run.put("/v1/agent/service/register", &json!({"Name": "web"})).status(403).done();
    run.put(&format!("/v1/session/destroy/{id}"), &NONE).says(200, "true");
}

fn filtered(run: &mut Run<'_>) {
    let secret = token(run, "blind", "node_prefix \"\" { policy = \"read\" }");
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    run.put_raw("/v1/kv/a", "1").says(200, "true");
    run.with_token(Some(&secret));
    run.get("/v1/health/service/web").is(json!([])).done();
    run.get("/v1/catalog/service/web").is(json!([])).done();
    run.get("/v1/catalog/services").is(json!({})).done();
    run.get("/v1/health/state/any").counts(1).done();
    run.get("/v1/agent/services").is(json!({})).done();
    run.get("/v1/agent/checks").is(json!({})).done();
    run.get("/v1/kv/?keys").is(json!([])).done();
    run.get("/v1/catalog/node/node-1").has("/Services", json!({})).done();
}

fn precedence(run: &mut Run<'_>) {
    let rules = r#"
        key_prefix "" { policy = "read" }
        key_prefix "app/" { policy = "write" }
        key_prefix "app/secret/" { policy = "deny" }
        key "app/secret/mine" { policy = "write" }
    "#;
    for key in ["top", "app/x", "app/secret/x", "app/secret/mine"] {
        run.put_raw(&format!("/v1/kv/{key}"), "0").says(200, "true");
    }
    let secret = token(run, "precedence", rules);
    run.with_token(Some(&secret));
    run.get("/v1/kv/top?raw").says(200, "0");
    run.put_raw("/v1/kv/top", "1").status(403).done();
    run.put_raw("/v1/kv/app/x", "1").says(200, "true");
    run.get("/v1/kv/app/secret/x").status(403).done();
    run.put_raw("/v1/kv/app/secret/mine", "1").says(200, "true");
    run.get("/v1/kv/?keys").is(json!(["app/secret/mine", "app/x", "top"])).done();
}

fn carriers(run: &mut Run<'_>) {
    let secret = token(run, "carriers", SERVICE);
    run.register(&json!({"Name": "web"}));
    run.with_token(Some(""));
    run.get(&format!("/v1/health/service/web?token={secret}")).counts(1).done();
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str())];
    let ask = outrigger_e2e::raw::Ask {
        headers: &headers,
        ..outrigger_e2e::raw::Ask::new("GET", "/v1/health/service/web")
    };
    let answer = ask.send(run.target().address()).expect("an answer");
    assert!(answer.text().contains("web"), "{answer}");
}

fn knows_itself(run: &mut Run<'_>) {
    let secret = token(run, "myself", SERVICE);
    run.with_token(Some(&secret));
    let answer = run.ask("GET", "/v1/acl/token/self", b"");
    assert_eq!(answer.status, 200, "{answer}");
    let json = answer.json().expect("a token");
    assert_eq!(json["SecretID"], secret.as_str());
    assert_eq!(json["Policies"][0]["Name"], "myself");
    run.with_token(Some(""));
    let answer = run.ask("GET", "/v1/agent/self", b"");
    assert_eq!(answer.status, 403, "{answer}");
}

fn broken(run: &mut Run<'_>) {
    for rules in ["service \"x\" { policy = \"maybe\" }", "service \"x {"] {
        let body = json!({"Name": "broken", "Rules": rules}).to_string();
        let answer = run.ask("PUT", "/v1/acl/policy", body.as_bytes());
        assert!(answer.status >= 400, "{rules}: {answer}");
    }
    let body = json!({"Policies": [{"Name": "nobody-made-this"}]}).to_string();
    let answer = run.ask("PUT", "/v1/acl/token", body.as_bytes());
    assert!(answer.status >= 400, "{answer}");
}

fn tree(run: &mut Run<'_>) {
    let rules = r#"
        key_prefix "app/" { policy = "write" }
        key "app/keep" { policy = "read" }
    "#;
    for key in ["app/keep", "app/x", "app/sub/x"] {
        run.put_raw(&format!("/v1/kv/{key}"), "0").says(200, "true");
    }
    let secret = token(run, "tree", rules);
    run.with_token(Some(&secret));
    run.delete("/v1/kv/app/?recurse").status(403).done();
    run.delete("/v1/kv/app/sub/?recurse").says(200, "true");
    run.get("/v1/kv/app/?keys").is(json!(["app/keep", "app/x"])).done();
}
