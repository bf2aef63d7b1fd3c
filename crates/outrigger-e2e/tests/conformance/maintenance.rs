//! Maintenance of an instance and of the whole node.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "an instance in maintenance is critical and comes back", script: instance },
    Case { name: "maintenance twice keeps the first reason", script: twice },
    Case { name: "maintenance without a reason says so", script: no_reason },
    Case { name: "a node in maintenance takes its instances along", script: node },
    Case { name: "maintenance is asked for properly", script: properly },
    Case { name: "the agent's own health shows maintenance", script: own_health },
];

const NONE: Value = Value::Null;

fn instance(run: &mut Run<'_>) {
    run.register(
        &json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "1h", "Status": "passing"}}),
    );
    run.put("/v1/agent/service/maintenance/web-1?enable=true&reason=upgrade+to+2", &NONE)
        .says(200, "");
    run.get("/v1/agent/checks").has("/_service_maintenance:web-1/Notes", "upgrade to 2").done();
    run.until("/v1/health/service/web", |a| a.text().contains("_service_maintenance"))
        .counts(1)
        .done();
    run.get("/v1/health/service/web?passing").is(json!([])).done();
    run.put("/v1/agent/service/maintenance/web-1?enable=false", &NONE).says(200, "");
    run.until("/v1/health/service/web?passing", |a| a.text().contains("web-1")).counts(1).done();
}

fn twice(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    for reason in ["first", "second"] {
        run.put(&format!("/v1/agent/service/maintenance/web?enable=1&reason={reason}"), &NONE)
            .says(200, "");
    }
    run.get("/v1/agent/checks").has("/_service_maintenance:web/Notes", "first").done();
    for _ in 0..2 {
        run.put("/v1/agent/service/maintenance/web?enable=0", &NONE).says(200, "");
    }
    run.get("/v1/agent/checks").is(json!({})).done();
}

fn no_reason(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    run.put("/v1/agent/service/maintenance/web?enable=true", &NONE).says(200, "");
    run.put("/v1/agent/maintenance?enable=true", &NONE).says(200, "");
    run.get("/v1/agent/checks").counts(2).done();
}

fn node(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    run.register(&json!({"Name": "db"}));
    run.put("/v1/agent/maintenance?enable=true&reason=power", &NONE).says(200, "");
    for service in ["web", "db"] {
        run.until(&format!("/v1/health/service/{service}?passing"), |a| a.text().trim() == "[]")
            .status(200)
            .done();
    }
    run.get("/v1/health/state/critical").has("/0/CheckID", "_node_maintenance").done();
    run.put("/v1/agent/maintenance?enable=false", &NONE).says(200, "");
    run.until("/v1/health/state/critical", |a| a.text().trim() == "[]").status(200).done();
}

fn properly(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    let base = "/v1/agent/service/maintenance/";
    run.put(&format!("{base}web"), &NONE).says(400, "Missing value for enable");
    run.put(&format!("{base}web?enable=maybe"), &NONE)
        .says(400, "Invalid value for enable: \"maybe\"");
    run.put(&format!("{base}?enable=true"), &NONE).says(400, "Missing service ID");
    run.put(&format!("{base}nope?enable=true"), &NONE).says(
        404,
        "Unknown service ID \"nope\". Ensure that the service ID is passed, not the service name.",
    );
    run.put("/v1/agent/maintenance", &NONE).says(400, "Missing value for enable");
}

fn own_health(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}}));
    run.put("/v1/agent/service/maintenance/web?enable=true&reason=x", &NONE).says(200, "");
    run.get("/v1/agent/health/service/id/web?format=text").says(503, "maintenance");
    run.get("/v1/agent/health/service/name/web").status(503).done();
}
