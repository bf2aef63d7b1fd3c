//! The catalogue, and nodes that others register in it.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a fresh agent lists itself", script: fresh },
    Case { name: "a foreign node is registered, read and removed", script: foreign },
    Case { name: "removing a node removes what it had", script: remove_node },
    Case { name: "catalogue registrations are checked", script: checked },
    Case { name: "several tags must all be there", script: tags },
    Case { name: "nodes are chosen by their meta", script: node_meta },
    Case { name: "datacenters, leader and peers", script: status },
    Case { name: "an absent node is null", script: absent_node },
];

fn register(run: &mut Run<'_>, body: &Value) {
    run.put("/v1/catalog/register", body).says(200, "true");
}

fn db(run: &mut Run<'_>) {
    register(
        run,
        &json!({
            "Node": "ext", "Address": "10.1.1.1", "NodeMeta": {"rack": "7"},
            "Service": {"Service": "db", "ID": "db-1", "Port": 5432, "Tags": ["primary"]},
            "Check": {"CheckID": "db-check", "Name": "db", "Status": "warning", "ServiceID": "db-1"},
        }),
    );
}

fn fresh(run: &mut Run<'_>) {
    run.get("/v1/catalog/nodes").counts(1).has("/0/Node", "node-1").done();
    run.get("/v1/catalog/services").is(json!({"consul": []})).done();
    run.get("/v1/health/node/node-1").has("/0/CheckID", "serfHealth").done();
    run.get("/v1/health/state/passing").counts(1).done();
    let members = run.ask("GET", "/v1/agent/members", b"").json().expect("a list");
    assert_eq!(members[0]["Name"], "node-1");
    assert_eq!(members[0]["Status"], 1);
    let me = run.ask("GET", "/v1/agent/self", b"").json().expect("an object");
    assert_eq!(me["Config"]["Datacenter"], "dc1");
    assert_eq!(me["Config"]["NodeName"], "node-1");
}

fn foreign(run: &mut Run<'_>) {
    db(run);
    run.get("/v1/catalog/node/ext").has("/Services/db-1/Port", 5432).done();
    run.get("/v1/catalog/service/db").has("/0/Address", "10.1.1.1").done();
    run.get("/v1/health/service/db").has("/0/Checks/0/Status", "warning").done();
    run.get("/v1/health/service/db?passing").is(json!([])).done();
    run.get("/v1/health/node/ext").counts(1).done();
    run.get("/v1/agent/services").is(json!({})).done();
    let gone = json!({"Node": "ext", "ServiceID": "db-1"});
    run.put("/v1/catalog/deregister", &gone).says(200, "true");
    run.get("/v1/catalog/service/db").is(json!([])).done();
    run.get("/v1/catalog/node/ext").has("/Services", json!({})).done();
}

fn remove_node(run: &mut Run<'_>) {
    db(run);
    run.put("/v1/catalog/deregister", &json!({"Node": "ext"})).says(200, "true");
    run.get("/v1/catalog/node/ext").is(Value::Null).done();
    run.get("/v1/health/service/db").is(json!([])).done();
    run.get("/v1/health/state/warning").is(json!([])).done();
    run.put("/v1/catalog/deregister", &json!({"Node": "ext"})).says(200, "true");
}

fn checked(run: &mut Run<'_>) {
    let mut refused = |body: Value, why: &str| {
        run.put("/v1/catalog/register", &body).says(500, why);
    };
    refused(json!({"Address": "10.1.1.1"}), "Must provide node");
    refused(json!({"Node": "x"}), "Must provide address if SkipNodeUpdate is not set");
    refused(
        json!({"Node": "x", "Address": "10.1.1.1", "Service": {"Service": "db", "Address": "0.0.0.0"}}),
        "Invalid service address",
    );
    run.put("/v1/catalog/deregister", &json!({})).says(500, "Must provide node");
}

fn tags(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a", "Tags": ["rust", "v1"]}));
    run.register(&json!({"Name": "web", "ID": "b", "Tags": ["rust", "v2"]}));
    run.get("/v1/health/service/web?tag=rust").counts(2).done();
    run.get("/v1/health/service/web?tag=rust&tag=v2").has("/0/Service/ID", "b").counts(1).done();
    run.get("/v1/catalog/service/web?tag=RUST&tag=v1").has("/0/ServiceID", "a").counts(1).done();
    run.get("/v1/health/service/web?tag=v1&tag=v2").is(json!([])).done();
}

fn node_meta(run: &mut Run<'_>) {
    db(run);
    run.get("/v1/catalog/nodes?node-meta=rack:7").counts(1).done();
    run.get("/v1/catalog/nodes?node-meta=rack:8").is(json!([])).done();
    run.get("/v1/catalog/services?node-meta=rack:7").is(json!({"db": ["primary"]})).done();
    run.get("/v1/health/service/db?node-meta=rack:7").counts(1).done();
    run.get("/v1/catalog/service/db?node-meta=rack:8").is(json!([])).done();
}

fn status(run: &mut Run<'_>) {
    run.get("/v1/catalog/datacenters").is(json!(["dc1"])).done();
    run.get("/v1/status/leader").status(200).done();
    run.get("/v1/status/peers").counts(1).done();
}

fn absent_node(run: &mut Run<'_>) {
    run.get("/v1/catalog/node/nope").is(Value::Null).done();
    run.get("/v1/health/node/nope").is(json!([])).done();
}
