//! Registering instances, and what becomes of what was left out.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a full registration comes back whole", script: full },
    Case { name: "a bare name gets every default", script: bare },
    Case { name: "the default id lets a second instance overwrite the first", script: overwrite },
    Case { name: "keys are read in any case and with underscores", script: spelling },
    Case { name: "several checks are numbered, named ones keep their id", script: many_checks },
    Case { name: "registering again keeps status and other checks", script: again },
    Case { name: "replace-existing-checks removes the others", script: replace },
    Case { name: "deregistering removes the checks too", script: deregister },
    Case { name: "an unknown id cannot be deregistered", script: deregister_unknown },
    Case { name: "weights are kept and checked", script: weights },
    Case { name: "an IPv6 address is tagged as one", script: ipv6 },
    Case { name: "explicit tagged addresses are kept", script: tagged },
    Case { name: "one instance is read with its content hash", script: one },
    Case { name: "what other languages' clients register", script: dialects },
];

fn full(run: &mut Run<'_>) {
    let body = json!({
        "Name": "web", "ID": "web-1", "Address": "10.0.0.1", "Port": 8080,
        "Tags": ["rust", "urlprefix-/web"], "Meta": {"language": "rust", "version": "1.2.3"},
        "Weights": {"Passing": 10, "Warning": 1}, "EnableTagOverride": true,
        "Check": {"TTL": "15s", "Status": "passing", "Notes": "a note"},
    });
    run.register(&body);
    run.get("/v1/agent/services").has("/web-1/Meta/language", "rust").done();
    run.get("/v1/agent/checks").has("/service:web-1/Status", "passing").done();
    run.get("/v1/catalog/service/web").has("/0/ServiceAddress", "10.0.0.1").done();
    // Tags come in any order here; the comparison sorts them.
    run.get("/v1/catalog/services").status(200).done();
    run.get("/v1/health/service/web").has("/0/Service/Weights/Passing", 10).done();
    run.get("/v1/health/checks/web").has("/0/Name", "Service 'web' check").done();
    run.get("/v1/catalog/node/node-1").has("/Services/web-1/Port", 8080).done();
}

fn bare(run: &mut Run<'_>) {
    run.register(&json!({"Name": "bare"}));
    run.get("/v1/agent/services").has("/bare/Weights", json!({"Passing": 1, "Warning": 1})).done();
    run.get("/v1/agent/checks").is(json!({})).done();
    run.get("/v1/catalog/service/bare").has("/0/ServiceTags", json!([])).done();
    run.get("/v1/health/service/bare?passing").has("/0/Service/ID", "bare").done();
}

fn overwrite(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Port": 1}));
    run.put("/v1/agent/service/register", &json!({"Name": "web", "Port": 2})).status(200).done();
    run.until("/v1/catalog/service/web", |a| a.text().contains(": 2") || a.text().contains(":2"))
        .counts(1)
        .done();
}

fn spelling(run: &mut Run<'_>) {
    let body = json!({
        "name": "web", "ID": "web-1", "PORT": 1, "enable_tag_override": true, "tags": null,
        "check": {"ttl": "1h", "deregister_critical_service_after": "2h"},
    });
    run.put("/v1/agent/service/register", &body).status(200).done();
    run.get("/v1/agent/services").has("/web-1/EnableTagOverride", true).done();
    run.get("/v1/agent/checks").has("/service:web-1/Type", "ttl").done();
}

fn many_checks(run: &mut Run<'_>) {
    let body = json!({
        "Name": "web", "ID": "web-1",
        "Checks": [
            {"TTL": "15s"},
            {"TTL": "15s", "CheckID": "mine", "Name": "My check", "Status": "warning"},
            {"HTTP": "http://127.0.0.1:1/", "Interval": "1h", "Timeout": "2s"},
        ],
    });
    run.register(&body);
    run.get("/v1/agent/checks").counts(3).has("/mine/Name", "My check").done();
    run.get("/v1/health/checks/web").counts(3).done();
}

fn again(run: &mut Run<'_>) {
    let check = json!({"TTL": "1h", "Status": "passing"});
    run.register(&json!({"Name": "web", "ID": "web-1", "Check": check}));
    run.put("/v1/agent/check/warn/service:web-1?note=hot", &Value::Null).status(200).done();
    run.register(&json!({"Name": "web", "ID": "web-1", "Check": check, "Tags": ["v2"]}));
    run.get("/v1/agent/checks").has("/service:web-1/Status", "warning").done();
    run.put("/v1/agent/service/register", &json!({"Name": "web", "ID": "web-1"}))
        .status(200)
        .done();
    run.get("/v1/agent/checks").counts(1).has("/service:web-1/Output", "hot").done();
}

fn replace(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h"}}));
    let body = json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h", "CheckID": "other"}});
    run.put("/v1/agent/service/register?replace-existing-checks=true", &body).status(200).done();
    run.get("/v1/agent/checks").counts(1).has("/other/ServiceID", "web-1").done();
    run.until("/v1/health/checks/web", |a| !a.text().contains("service:web-1")).counts(1).done();
}

fn deregister(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h"}}));
    run.put("/v1/agent/service/deregister/web-1", &Value::Null).says(200, "");
    run.get("/v1/agent/services").is(json!({})).done();
    run.get("/v1/agent/checks").is(json!({})).done();
    run.until("/v1/catalog/service/web", |a| !a.text().contains("web-1")).is(json!([])).done();
    run.until("/v1/health/checks/web", |a| !a.text().contains("web-1")).is(json!([])).done();
}

fn deregister_unknown(run: &mut Run<'_>) {
    run.put("/v1/agent/service/deregister/nope", &Value::Null).says(
        404,
        "Unknown service ID \"nope\". Ensure that the service ID is passed, not the service name.",
    );
}

fn weights(run: &mut Run<'_>) {
    let with = |weights: Value| json!({"Name": "web", "Weights": weights});
    let mut refused = |weights: Value, why: &str| {
        run.put("/v1/agent/service/register", &with(weights)).says(400, why);
    };
    refused(json!({"Passing": 0, "Warning": 1}), "Invalid Weights: Passing must be greater than 0");
    refused(
        json!({"Passing": 1, "Warning": -1}),
        "Invalid Weights: Warning must be greater or equal than 0",
    );
    refused(
        json!({"Passing": 65536, "Warning": 1}),
        "Invalid Weights: DNS Weight must be between 0 and 65535",
    );
    run.register(&with(json!({"Passing": 65535, "Warning": 0})));
    run.get("/v1/catalog/service/web").has("/0/ServiceWeights/Warning", 0).done();
}

fn ipv6(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Address": "fd00::1", "Port": 80}));
    run.get("/v1/agent/services").has("/web/TaggedAddresses/lan_ipv6/Port", 80).done();
    run.register(&json!({"Name": "named", "Address": "db.internal", "Port": 80}));
    run.get("/v1/agent/services").has("/named/Address", "db.internal").done();
}

fn tagged(run: &mut Run<'_>) {
    let body = json!({
        "Name": "web", "Address": "10.0.0.1", "Port": 80,
        "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 8080}},
    });
    run.register(&body);
    run.get("/v1/agent/services").has("/web/TaggedAddresses/wan/Port", 8080).done();
    run.get("/v1/catalog/service/web").has("/0/ServiceTaggedAddresses/wan/Port", 8080).done();
}

fn one(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "web-1", "Port": 80}));
    let heard = run.get("/v1/agent/service/web-1").has("/Port", 80);
    let hash = heard.text_at("/ContentHash");
    assert_eq!(heard.answer.header("x-consul-contenthash"), Some(hash.as_str()));
    run.get("/v1/agent/service/nope").says(404, "unknown service ID: nope");
}

/// The bodies that minimal Go, Python and Node clients and Spring send.
fn dialects(run: &mut Run<'_>) {
    for body in [
        json!({"ID": "inventory-1", "Name": "inventory", "Tags": ["urlprefix-/inventory", "go"], "Port": 9101, "Address": "127.0.0.1",
            "EnableTagOverride": false, "Meta": {"version": "1.2.3"}, "Check": {"Interval": "10s", "HTTP": "http://127.0.0.1:1/health"}, "Checks": null}),
        json!({"name": "billing", "id": "billing-1", "address": "127.0.0.1", "port": 9102, "tags": ["urlprefix-/billing", "py"],
            "check": {"http": "http://127.0.0.1:1/health", "interval": "10s"}}),
        json!({"name": "cart", "id": "cart-1", "address": "127.0.0.1", "port": 9103, "tags": ["urlprefix-/cart", "node"], "meta": {"v": "1"},
            "check": {"http": "http://127.0.0.1:1/health", "interval": "10s"}}),
        json!({"ID": "orders-8081", "Name": "orders", "Tags": ["version=1.0"], "Address": "192.0.2.2", "Port": 8081, "Meta": {"secure": "false"},
            "Check": {"Interval": "10s", "HTTP": "http://192.0.2.2:1/actuator/health", "Header": {}}}),
    ] {
        run.put("/v1/agent/service/register", &body).status(200).done();
    }
    run.get("/v1/agent/services").counts(4).done();
}
