//! Odd names, percent-encoding, and sizes at the edge.

use serde_json::{Value, json};

use crate::run::{Case, Run, encode};

pub(crate) const CASES: &[Case] = &[
    Case { name: "odd ids are reached through percent-encoding", script: odd_ids },
    Case { name: "odd service names are reached through percent-encoding", script: odd_services },
    Case { name: "keys keep every character", script: odd_keys },
    Case { name: "an encoded slash is a slash", script: encoded_slash },
    Case { name: "what is encoded twice is decoded once", script: twice },
    Case { name: "a value may have 512 KiB and not a byte more", script: big_value },
    Case { name: "a key may not begin or end with a space", script: spaces },
    Case { name: "double slashes are redirected", script: redirected },
    Case { name: "a long name is a name", script: long },
];

fn odd_ids(run: &mut Run<'_>) {
    for id in ["a b", "ü/π", "100%", "a+b", "q?x=1", "#1"] {
        run.put(
            "/v1/agent/service/register",
            &json!({"Name": "web", "ID": id, "Check": {"TTL": "1h"}}),
        )
        .status(200)
        .done();
        let id = encode(id);
        run.get(&format!("/v1/agent/service/{id}")).has("/Service", "web").done();
        run.put(&format!("/v1/agent/check/pass/service:{id}?note=%26%3D%2B"), &Value::Null)
            .says(200, "");
        run.put(&format!("/v1/agent/service/maintenance/{id}?enable=true"), &Value::Null)
            .says(200, "");
    }
    run.get("/v1/agent/checks").has("/service:a+b/Output", "&=+").counts(12).done();
    for id in ["a b", "ü/π", "100%", "a+b", "q?x=1", "#1"] {
        run.put(&format!("/v1/agent/service/deregister/{}", encode(id)), &Value::Null)
            .says(200, "");
    }
    run.get("/v1/agent/services").is(json!({})).done();
}

fn odd_services(run: &mut Run<'_>) {
    for name in ["a b", "über", "x/y", "a&b"] {
        run.put("/v1/agent/service/register", &json!({"Name": name})).status(200).done();
        let path = format!("/v1/health/service/{}", encode(name));
        run.until(&path, |a| a.text().trim() != "[]").has("/0/Service/Service", name).done();
    }
}

fn odd_keys(run: &mut Run<'_>) {
    let keys = ["a b/c", "ключ", "a%b", "a+b", "a&b=c", "a#b", "emoji/🦀", "a:b;c,d"];
    for key in keys {
        run.put_raw(&format!("/v1/kv/{}", encode(key)), key).says(200, "true");
        run.get(&format!("/v1/kv/{}", encode(key))).has("/0/Key", key).done();
    }
    run.get("/v1/kv/?keys").counts(keys.len()).done();
    run.get(&format!("/v1/kv/{}?raw", encode("emoji/🦀"))).says(200, "emoji/🦀");
    run.delete(&format!("/v1/kv/{}", encode("a%b"))).says(200, "true");
    run.get("/v1/kv/?keys").counts(keys.len() - 1).done();
}

fn encoded_slash(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/app%2Fx", "1").says(200, "true");
    run.get("/v1/kv/app/x?raw").says(200, "1");
    run.get("/v1/kv/app%2f?keys").is(json!(["app/x"])).done();
}

fn twice(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a%2562", "1").says(200, "true");
    run.get("/v1/kv/?keys").is(json!(["a%62"])).done();
    run.get("/v1/kv/ab").says(404, "");
}

fn big_value(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/big", vec![b'x'; 512 * 1024]).says(200, "true");
    let answer = run.ask("GET", "/v1/kv/big?raw", b"");
    assert_eq!(answer.body.len(), 512 * 1024);
    run.put_raw("/v1/kv/big", vec![b'x'; 512 * 1024 + 1]).says(
        413,
        "Request body(524289 bytes) too large, max size: 524288 bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size.",
    );
    let answer = run.ask("GET", "/v1/kv/big?raw", b"");
    assert_eq!(answer.body.len(), 512 * 1024, "the old value is kept");
}

fn spaces(run: &mut Run<'_>) {
    let why = "invalid key name, leading/trailing spaces are not allowed";
    run.put_raw("/v1/kv/%20a", "x").says(500, why);
    run.put_raw("/v1/kv/a%20", "x").says(500, why);
}

fn redirected(run: &mut Run<'_>) {
    for path in ["/v1/kv//lead", "/v1/kv/a//b", "/v1/kv/a/./b"] {
        let answer = run.ask("GET", path, b"");
        assert!(matches!(answer.status, 301 | 307), "{path}: {answer}");
        assert!(answer.header("location").is_some_and(|to| !to.contains("//")), "{path}");
    }
}

fn long(run: &mut Run<'_>) {
    let name = "n".repeat(200);
    run.register(&json!({"Name": name}));
    run.get(&format!("/v1/health/service/{name}")).counts(1).done();
    let key = "k/".repeat(200);
    run.put_raw(&format!("/v1/kv/{key}x"), "1").says(200, "true");
    run.get(&format!("/v1/kv/{key}?keys")).counts(1).done();
}
