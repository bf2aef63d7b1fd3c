//! What is refused, and how.

use serde_json::json;

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "bodies that are no JSON are refused", script: bodies },
    Case { name: "unknown fields of registrations are refused", script: unknown_fields },
    Case { name: "wrong types of registrations are refused", script: wrong_types },
    Case { name: "services that cannot be called are refused", script: not_callable },
    Case { name: "meta data is checked", script: meta },
    Case { name: "another datacenter is not reached", script: datacenter },
    Case { name: "waits and indexes are checked", script: waits },
    Case { name: "methods are checked", script: methods },
    Case { name: "paths that are not there are 404", script: paths },
    Case { name: "names are required", script: names_required },
];

const REGISTER: &str = "/v1/agent/service/register";

fn bodies(run: &mut Run<'_>) {
    for path in [REGISTER, "/v1/agent/check/register", "/v1/catalog/register"] {
        run.put_raw(path, "").says(400, "Request decode failed: EOF");
        run.put_raw(path, "{\"Name\": \"x\"").says(400, "Request decode failed: unexpected EOF");
    }
    run.put_raw(REGISTER, "null").says(400, "Missing service name");
    run.put_raw("/v1/agent/check/register", "{}").says(400, "Missing check name");
}

fn unknown_fields(run: &mut Run<'_>) {
    run.put(REGISTER, &json!({"Name": "x", "Nmae": 1}))
        .says(400, "Request decode failed: json: unknown field \"Nmae\"");
    run.put("/v1/agent/check/register", &json!({"Name": "x", "Ttl": "1s", "Nope": 1}))
        .says(400, "Request decode failed: json: unknown field \"Nope\"");
}

/// Newer versions name Go's inner types; that is not compared.
fn wrong_types(run: &mut Run<'_>) {
    for body in [
        json!([]),
        json!({"Name": 1}),
        json!({"Name": "x", "Port": "80"}),
        json!({"Name": "x", "Tags": "a"}),
        json!({"Name": "x", "Meta": {"a": 1}}),
        json!({"Name": "x", "EnableTagOverride": "yes"}),
    ] {
        let answer = run.ask("PUT", REGISTER, body.to_string().as_bytes());
        assert_eq!(answer.status, 400, "{body}: {answer}");
        let text = answer.text();
        assert!(text.starts_with("Request decode failed: json: cannot unmarshal"), "{text}");
    }
    run.get("/v1/agent/services").is(json!({})).done();
}

fn not_callable(run: &mut Run<'_>) {
    for address in ["0.0.0.0", "::"] {
        run.put(REGISTER, &json!({"Name": "x", "Address": address}))
            .says(400, "Invalid service address");
    }
    // Consul lets any port through: clients must look themselves.
    run.put(REGISTER, &json!({"Name": "x", "Port": 70000})).status(200).done();
    run.get("/v1/agent/services").has("/x/Port", 70000).done();
    run.put(REGISTER, &json!({"Name": "x", "Port": -1})).status(200).done();
    run.get("/v1/agent/services").has("/x/Port", -1).done();
}

fn meta(run: &mut Run<'_>) {
    let with = |key: &str, value: &str| json!({"Name": "x", "Meta": {key: value}});
    let pair = |key: &str, value: &str, why: &str| {
        format!("Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {why}")
    };
    run.put(REGISTER, &with("a.b", "1"))
        .says(400, &pair("a.b", "1", "Key contains invalid characters"));
    run.put(REGISTER, &with("", "1")).says(400, &pair("", "1", "Key cannot be blank"));
    let long = "k".repeat(129);
    run.put(REGISTER, &with(&long, "1"))
        .says(400, &pair(&long, "1", "Key is too long (limit: 128 characters)"));
    let long = "v".repeat(513);
    run.put(REGISTER, &with("k", &long))
        .says(400, &pair("k", &long, "Value is too long (limit: 512 characters)"));
    run.put(REGISTER, &with("k_-1", &"v".repeat(512))).status(200).done();
}

fn datacenter(run: &mut Run<'_>) {
    for path in [
        "/v1/health/service/web",
        "/v1/health/checks/web",
        "/v1/catalog/service/web",
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/kv/x",
        "/v1/session/list",
    ] {
        run.get(&format!("{path}?dc=elsewhere")).says(500, "No path to datacenter");
    }
    run.put_raw("/v1/kv/x?dc=elsewhere", "1").says(500, "No path to datacenter");
    run.get("/v1/health/service/web?dc=dc1").is(json!([])).done();
}

fn waits(run: &mut Run<'_>) {
    for index in ["abc", "-1", "1.5"] {
        run.get(&format!("/v1/health/service/web?index={index}&x=index"))
            .says(400, "Invalid index");
    }
    for wait in ["abc", "10", "5x"] {
        run.get(&format!("/v1/catalog/nodes?wait={wait}")).says(400, "Invalid wait time");
    }
    run.get("/v1/health/service/web?passing=maybe").says(400, "Invalid value for ?passing");
    run.get("/v1/health/service/web?wait=1h&index=0").is(json!([])).done();
}

fn methods(run: &mut Run<'_>) {
    run.get(REGISTER).says(405, "method GET not allowed");
    run.put("/v1/agent/services", &json!({})).says(405, "method PUT not allowed");
    run.send("POST", "/v1/agent/check/pass/x", b"").says(405, "method POST not allowed");
    run.delete("/v1/catalog/nodes").says(405, "method DELETE not allowed");
    run.send("OPTIONS", "/v1/agent/services", b"").says(200, "");
}

fn paths(run: &mut Run<'_>) {
    run.get("/v1/nope").says(404, "Invalid URL path: not a recognized HTTP API endpoint");
    run.get("/v2/kv/x").says(
        404,
        "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'",
    );
}

fn names_required(run: &mut Run<'_>) {
    run.get("/v1/health/service/").says(400, "Missing service name");
    run.get("/v1/health/checks/").says(400, "Missing service name");
    run.get("/v1/health/state/").says(400, "Missing check state");
    run.get("/v1/health/node/").says(400, "Missing node name");
    run.get("/v1/catalog/service/").says(400, "Missing service name");
    run.get("/v1/catalog/node/").says(400, "Missing node name");
    run.get("/v1/health/state/unheard-of").is(json!([])).done();
}
