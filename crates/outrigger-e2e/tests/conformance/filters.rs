//! The `filter` parameter.

use serde_json::json;

use crate::run::{Case, Run, encode};

pub(crate) const CASES: &[Case] = &[
    Case { name: "instances are filtered by every operator", script: operators },
    Case { name: "and, or, not and parentheses combine", script: combine },
    Case { name: "absent keys of maps equal nothing", script: absent },
    Case { name: "services, checks and nodes of other lists are filtered", script: lists },
    Case { name: "names of services are filtered", script: names },
    Case { name: "unknown selectors are refused", script: unknown },
    Case { name: "tests that do not fit their field are refused", script: unfit },
    Case { name: "broken expressions are refused", script: broken },
];

fn fleet(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a", "Port": 80, "Tags": ["rust", "v1"], "Meta": {"language": "rust", "zone": "a b"},
        "Check": {"TTL": "1h", "Status": "passing"}}));
    run.register(&json!({"Name": "web", "ID": "b", "Port": 81, "Tags": ["go"], "Meta": {"language": "go"}, "EnableTagOverride": true}));
    run.register(&json!({"Name": "web", "ID": "c", "Port": 82}));
}

fn found(run: &mut Run<'_>, expression: &str, ids: &[&str]) {
    let heard =
        run.get(&format!("/v1/health/service/web?filter={}", encode(expression))).status(200);
    let json = heard.json();
    let got: Vec<_> = json
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| entry["Service"]["ID"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(got, ids, "{expression}");
}

fn operators(run: &mut Run<'_>) {
    fleet(run);
    for (expression, ids) in [
        ("Service.ID == a", &["a"][..]),
        ("Service.ID != \"a\"", &["b", "c"]),
        ("rust in Service.Tags", &["a"]),
        ("\"rust\" not in Service.Tags", &["b", "c"]),
        ("Service.Tags contains `v1`", &["a"]),
        ("Service.Tags is empty", &["c"]),
        ("Service.Tags is not empty", &["a", "b"]),
        ("Service.Port == 81", &["b"]),
        ("Service.EnableTagOverride == true", &["b"]),
        ("Service.Meta.language == rust", &["a"]),
        ("Service.Meta.zone == \"a b\"", &["a"]),
        ("language in Service.Meta", &["a", "b"]),
        ("Service.ID matches \"^[ab]$\"", &["a", "b"]),
        ("Service.ID not matches `^[ab]`", &["c"]),
        ("Node.Node == \"node-1\"", &["a", "b", "c"]),
    ] {
        found(run, expression, ids);
    }
}

fn combine(run: &mut Run<'_>) {
    fleet(run);
    for (expression, ids) in [
        ("Service.ID == a or Service.ID == b and Service.Port == 80", &["a"][..]),
        ("(Service.ID == a or Service.ID == b) and Service.Port == 81", &["b"]),
        ("not Service.ID == a", &["b", "c"]),
        ("not (Service.ID == a or go in Service.Tags)", &["c"]),
        ("  Service.ID==a  ", &["a"]),
    ] {
        found(run, expression, ids);
    }
}

fn absent(run: &mut Run<'_>) {
    fleet(run);
    for (expression, ids) in [
        ("Service.Meta.language != rust", &["b", "c"][..]),
        ("Service.Meta.nope == x", &[]),
        ("Service.Meta.nope != x", &["a", "b", "c"]),
        ("Service.Meta.language matches \"^r\"", &["a", "c"]),
        ("Service.Meta.language not matches \"^r\"", &["b", "c"]),
    ] {
        found(run, expression, ids);
    }
}

fn lists(run: &mut Run<'_>) {
    fleet(run);
    run.get("/v1/agent/services?filter=Port%20==%2080").counts(1).done();
    run.get("/v1/agent/services?filter=Meta.language%20==%20go").counts(1).done();
    run.get("/v1/agent/checks?filter=Status%20==%20passing").counts(1).done();
    run.get("/v1/catalog/service/web?filter=ServiceMeta.language%20==%20go").counts(1).done();
    run.get("/v1/catalog/nodes?filter=Node%20!=%20%22node-1%22").is(json!([])).done();
    run.get("/v1/health/checks/web?filter=ServiceID%20==%20a").counts(1).done();
    run.get("/v1/health/state/any?filter=ServiceName%20==%20web").counts(1).done();
    run.get("/v1/health/node/node-1?filter=CheckID%20==%20serfHealth").counts(1).done();
}

fn names(run: &mut Run<'_>) {
    fleet(run);
    run.get("/v1/catalog/services?filter=ServiceName==web").counts(1).done();
}

fn unknown(run: &mut Run<'_>) {
    let why = "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid";
    for path in [
        "/v1/health/service/web",
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/catalog/service/web",
        "/v1/catalog/nodes",
        "/v1/agent/services",
    ] {
        run.get(&format!("{path}?filter=Nope==1")).says(500, why);
    }
}

/// Tests that do not fit the field.
fn unfit(run: &mut Run<'_>) {
    for (expression, operator, selector) in [
        ("Service.Meta.zone is empty", "Is Empty", "Service.Meta.zone"),
        ("Service.ID is not empty", "Is Not Empty", "Service.ID"),
        ("Service.Tags == a", "Equal", "Service.Tags"),
        ("Service.Meta != a", "Not Equal", "Service.Meta"),
        ("Service.Tags matches a", "Matches", "Service.Tags"),
        ("Service.Port not matches a", "Not Matches", "Service.Port"),
        ("\"a\" in Service.Port", "In", "Service.Port"),
    ] {
        let path = format!("/v1/health/service/web?filter={}", encode(expression));
        let why = format!("Invalid match operator \"{operator}\" for selector \"{selector}\"");
        run.get(&path).says(500, &format!("Failed to create boolean expression evaluator: {why}"));
    }
}

fn broken(run: &mut Run<'_>) {
    // The list of what was expected at the place differs in detail; that and where it is refused not.
    for expression in ["bad bad", "(Service.ID == a", "Service.ID ==", "== a", "Service.ID is full"]
    {
        let path = format!("/v1/health/service/web?filter={}", encode(expression));
        let answer = run.ask("GET", &path, b"");
        assert_eq!(answer.status, 500, "{expression}: {answer}");
        let text = answer.text();
        assert!(text.starts_with("Failed to create boolean expression evaluator: 1:"), "{text}");
    }
}
