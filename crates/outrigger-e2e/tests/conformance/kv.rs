//! Keys and values.

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a key is written, read and deleted", script: simple },
    Case { name: "an empty value is null", script: empty },
    Case { name: "a raw value comes as it is", script: raw },
    Case { name: "flags are kept", script: flags },
    Case { name: "check and set holds to the index", script: cas },
    Case { name: "delete with check and set holds to the index", script: delete_cas },
    Case { name: "a tree is listed and deleted", script: tree },
    Case { name: "keys are listed up to a separator", script: separator },
    Case { name: "absent keys are 404 and carry an index", script: absent },
    Case { name: "conflicting and broken parameters are refused", script: parameters },
    Case { name: "a key without name is refused", script: nameless },
    Case { name: "the same value again changes no index", script: same },
    Case { name: "a transaction does all or nothing", script: txn },
];

fn simple(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a/b", "hello").says(200, "true");
    run.get("/v1/kv/a/b").has("/0/Value", "aGVsbG8=").has("/0/Key", "a/b").done();
    run.put_raw("/v1/kv/a/b", "world").says(200, "true");
    run.get("/v1/kv/a/b").has("/0/Value", "d29ybGQ=").done();
    run.delete("/v1/kv/a/b").says(200, "true");
    run.get("/v1/kv/a/b").says(404, "");
    run.delete("/v1/kv/a/b").says(200, "true");
}

fn empty(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a", "").says(200, "true");
    run.get("/v1/kv/a").has("/0/Value", Value::Null).done();
    run.get("/v1/kv/a?raw").says(200, "");
}

fn raw(run: &mut Run<'_>) {
    let bytes: Vec<u8> = (0..=255).collect();
    run.put_raw("/v1/kv/bin", &bytes).says(200, "true");
    let answer = run.ask("GET", "/v1/kv/bin?raw", b"");
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-security-policy"), Some("sandbox"));
    run.get("/v1/kv/bin").status(200).done();
}

fn flags(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a?flags=42", "x").says(200, "true");
    run.get("/v1/kv/a").has("/0/Flags", 42).done();
    run.put_raw("/v1/kv/a?flags=18446744073709551615", "x").says(200, "true");
    run.get("/v1/kv/a").has("/0/Flags", u64::MAX).done();
    run.put_raw("/v1/kv/a", "x").says(200, "true");
    run.get("/v1/kv/a").has("/0/Flags", 0).done();
}

fn cas(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a?cas=7", "x").says(200, "false");
    run.put_raw("/v1/kv/a?cas=0", "x").says(200, "true");
    run.put_raw("/v1/kv/a?cas=0", "y").says(200, "false");
    let index = run.get("/v1/kv/a").index();
    run.put_raw(&format!("/v1/kv/a?cas={}", index + 1), "y").says(200, "false");
    run.put_raw(&format!("/v1/kv/a?cas={index}"), "y").says(200, "true");
    run.put_raw(&format!("/v1/kv/a?cas={index}"), "z").says(200, "false");
    run.get("/v1/kv/a?raw").says(200, "y");
}

fn delete_cas(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a", "x").says(200, "true");
    let index = run.get("/v1/kv/a").index();
    run.delete("/v1/kv/a?cas=1").says(200, "false");
    run.delete("/v1/kv/a?cas=0").says(200, "false");
    run.delete(&format!("/v1/kv/a?cas={index}")).says(200, "true");
    run.get("/v1/kv/a").says(404, "");
    run.delete("/v1/kv/a?cas=5").says(200, "true");
}

fn tree(run: &mut Run<'_>) {
    for key in ["d/1", "d/2", "d/e/3", "dx"] {
        run.put_raw(&format!("/v1/kv/{key}"), key).says(200, "true");
    }
    run.get("/v1/kv/d?recurse").counts(4).done();
    run.get("/v1/kv/d/?recurse").counts(3).done();
    run.get("/v1/kv/?recurse").counts(4).done();
    run.delete("/v1/kv/d/?recurse").says(200, "true");
    run.get("/v1/kv/?keys").is(json!(["dx"])).done();
    run.delete("/v1/kv/d/?recurse").says(200, "true");
    run.delete("/v1/kv/?recurse").says(200, "true");
    run.get("/v1/kv/?keys").is(json!([])).done();
    run.get("/v1/kv/?recurse").says(404, "");
}

fn separator(run: &mut Run<'_>) {
    for key in ["app/a/1", "app/a/2", "app/b", "other"] {
        run.put_raw(&format!("/v1/kv/{key}"), "").says(200, "true");
    }
    run.get("/v1/kv/app/?keys").is(json!(["app/a/1", "app/a/2", "app/b"])).done();
    run.get("/v1/kv/app/?keys&separator=/").is(json!(["app/a/", "app/b"])).done();
    run.get("/v1/kv/app?keys&separator=/").is(json!(["app/"])).done();
    run.get("/v1/kv/?keys&seperator=/").is(json!(["app/", "other"])).done();
    run.get("/v1/kv/nope?keys").says(404, "");
}

fn absent(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a", "x").says(200, "true");
    for path in ["/v1/kv/nope", "/v1/kv/nope?recurse", "/v1/kv/nope?raw"] {
        let heard = run.get(path).status(404);
        assert!(heard.index() > 1, "the index of the store");
    }
}

fn parameters(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a?cas=x", "").says(500, "strconv.ParseUint: parsing \"x\": invalid syntax");
    run.put_raw("/v1/kv/a?flags=-1", "")
        .says(500, "strconv.ParseUint: parsing \"-1\": invalid syntax");
    run.put_raw("/v1/kv/a?cas=1&acquire=x", "").says(400, "Conflicting flags: acquire=x&cas=1");
    run.delete("/v1/kv/a?cas=1&recurse").says(400, "Conflicting flags: cas=1&recurse=");
    run.put_raw("/v1/kv/a?release=", "").status(500).done();
    run.get("/v1/kv/a").says(404, "");
}

fn nameless(run: &mut Run<'_>) {
    run.get("/v1/kv/").says(400, "Missing key name");
    run.put_raw("/v1/kv/", "x").says(400, "Missing key name");
    run.delete("/v1/kv/").says(400, "Missing key name");
}

fn same(run: &mut Run<'_>) {
    run.put_raw("/v1/kv/a", "x").says(200, "true");
    let before = run.get("/v1/kv/a").index();
    run.put_raw("/v1/kv/a", "x").says(200, "true");
    assert_eq!(run.get("/v1/kv/a").index(), before);
    run.put_raw("/v1/kv/a?flags=1", "x").says(200, "true");
    assert!(run.get("/v1/kv/a").index() > before);
}

fn txn(run: &mut Run<'_>) {
    let ops = |ops: &[Value]| Value::Array(ops.iter().map(|op| json!({"KV": op})).collect());
    let set = json!({"Verb": "set", "Key": "t/a", "Value": "YQ==", "Flags": 3});
    let body = ops(&[set.clone(), json!({"Verb": "get", "Key": "t/a"})]);
    run.put("/v1/txn", &body).has("/Results/1/KV/Value", "YQ==").done();
    let stale = json!({"Verb": "cas", "Key": "t/a", "Value": "Yg==", "Index": 1});
    let other = json!({"Verb": "set", "Key": "t/b", "Value": "YQ=="});
    let heard = run.put("/v1/txn", &ops(&[other, stale])).status(409);
    assert!(heard.answer.text().contains("index is stale"), "{}", heard.answer);
    run.get("/v1/kv/t/b").says(404, "");
    let body =
        ops(&[json!({"Verb": "get-tree", "Key": "t/"}), json!({"Verb": "delete", "Key": "t/a"})]);
    run.put("/v1/txn", &body).has("/Results/0/KV/Flags", 3).done();
    run.get("/v1/kv/t/a").says(404, "");
    let body = ops(&[json!({"Verb": "check-not-exists", "Key": "t/a"}), set]);
    run.put("/v1/txn", &body).status(200).done();
    let missing = run.put("/v1/txn", &ops(&[json!({"Verb": "get", "Key": "t/nope"})])).status(409);
    missing.done();
}
