//! No field of a policy is read and then dropped: each, changed alone, changes what callers and
//! servers are made of. That they do what they are made for is told over sockets, in
//! `tests/policy/`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::Loaded;
use super::text::{Reading, read};
use crate::serve::Accepts;
use crate::table::{RouteSpec, Spec};

/// A policy in which every field says something else than its default.
const BASE: &str = include_str!("obeyed/base.yaml");
/// What is changed of it, a field a line.
const FIELDS: &str = include_str!("obeyed/fields.txt");

/// What nobody obeys yet, and why; a line that has become wrong fails the test.
const NOT_YET: [(&str, &str); 9] = [
    ("mesh.host", "meshes are not detected: callers say so, and call instances"),
    ("mesh.port", "the same"),
    ("inbound.authorize.default", "callers have no identities: `enforce` refuses the policy"),
    ("inbound.authorize.allow[].from", "the same"),
    ("inbound.authorize.allow[].methods", "the same"),
    ("inbound.authorize.allow[].paths", "the same"),
    ("inbound.authorize.deny[].from", "the same"),
    ("inbound.authorize.deny[].methods", "the same"),
    ("inbound.authorize.deny[].paths", "the same"),
];

/// What has one value only: nothing that it could be changed to.
const ONLY_ONE: [&str; 1] = ["version"];

/// A field, and a policy in which it alone is another.
struct Change {
    path: &'static str,
    before: String,
    after: String,
}

fn changes() -> Vec<Change> {
    let lines = FIELDS.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.map(|line| {
        let mut parts = line.splitn(3, " | ");
        let mut next = || parts.next().unwrap_or_else(|| panic!("{line:?}: three parts"));
        (next(), next().replace("\\n", "\n"), next().replace("\\n", "\n"))
    });
    let change = |(path, from, to): (&'static str, String, String)| match &*from {
        // What most of the others are not allowed beside.
        "-" => {
            let before = "version: 1\nservice: stock\n".to_owned();
            Change { path, after: format!("{before}{to}\n"), before }
        }
        from => {
            assert_eq!(BASE.matches(from).count(), 1, "{path}: {from:?} stands there once");
            Change { path, before: BASE.to_owned(), after: BASE.replacen(from, &to, 1) }
        }
    };
    parts.map(change).collect()
}

/// What callers and servers are made of.
fn made_of(text: &str, folder: &Path) -> String {
    let loaded = match read("stock.yaml", text.as_bytes(), folder) {
        Ok(Reading::Policy(loaded)) => loaded,
        other => panic!("{other:?}\n{text}"),
    };
    let mut out = String::new();
    let mut add = |part: &dyn std::fmt::Debug| writeln!(out, "{part:?}").expect("a string");
    // The version differs with every letter, and tells nothing.
    let Spec { version: _, routes, subsets, tls, grpc_status, rate_names, loaded: _ } =
        Spec::of_policy(&loaded);
    add(&(subsets, tls.map(|(written, _)| written), &loaded.roots, grpc_status, rate_names));
    for RouteSpec { name, rules, plan } in routes {
        let plan = plan.expect("a policy's");
        let fallback = plan.breaker.as_ref().map(|breaker| &breaker.fallback);
        add(&(name, rules, &plan.matcher, &plan.split, &plan.mirror));
        add(&(&plan.fault, &plan.headers, &plan.hash_on, fallback));
    }
    accepted(&loaded, &mut add);
    add(&(&loaded.plan.service, loaded.plan.protocol, loaded.plan.telemetry));
    out
}

fn accepted(loaded: &Loaded, add: &mut dyn FnMut(&dyn std::fmt::Debug)) {
    let inbound = loaded.plan.inbound.as_ref();
    add(&inbound.map(Accepts::of_plan));
    for rate in inbound.iter().flat_map(|inbound| &inbound.rate_limits) {
        // A rule holds it as a function.
        add(&rate.matcher);
    }
    add(&loaded.refused_inbound());
}

/// Every path of the schema that ends in a value.
fn fields() -> BTreeSet<String> {
    fn walk(schema: &Value, root: &Value, path: &str, found: &mut BTreeSet<String>) -> bool {
        let schema = match schema["$ref"].as_str() {
            Some(name) => &root["$defs"][name.trim_start_matches("#/$defs/")],
            None => schema,
        };
        if schema["items"].is_object() {
            return walk(&schema["items"], root, &format!("{path}[]"), found);
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (key, field) in properties {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !walk(field, root, &below, found) {
                    found.insert(below);
                }
            }
            return true;
        }
        let ways = ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
        let mut is_section = false;
        for way in ways {
            is_section |= walk(way, root, path, found);
        }
        let named = &schema["additionalProperties"];
        is_section |= named.is_object() && walk(named, root, &format!("{path}.*"), found);
        is_section
    }
    let (schema, mut found) = (outrigger_policy::schema(), BTreeSet::new());
    walk(&schema, &schema, "", &mut found);
    found
}

#[test]
fn each_field_of_the_schema_is_among_the_changes() {
    let changed: BTreeSet<_> = changes().iter().map(|change| change.path.to_owned()).collect();
    let wanted: BTreeSet<_> =
        fields().into_iter().filter(|field| !ONLY_ONE.contains(&&**field)).collect();
    let missing: Vec<_> = wanted.difference(&changed).collect();
    assert!(missing.is_empty(), "no line of fields.txt changes {missing:?}");
    let stale: Vec<_> = changed.difference(&wanted).collect();
    assert!(stale.is_empty(), "fields.txt changes what is no field: {stale:?}");
    let unknown: Vec<_> = NOT_YET.iter().filter(|(path, _)| !wanted.contains(*path)).collect();
    assert!(unknown.is_empty(), "NOT_YET has what is no field: {unknown:?}");
}

#[test]
fn no_field_is_read_and_then_dropped() {
    let folder = TempDir::new().expect("a folder");
    for name in ["one.pem", "two.pem"] {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
        fs::write(folder.path().join(name), made.cert.pem()).expect("writes");
    }
    let made = |text: &str| made_of(text, folder.path());
    let base = made(BASE);
    assert_eq!(made(BASE), base, "nothing by lot, or every field would seem to be obeyed");
    let (mut dropped, mut obeyed) = (Vec::new(), Vec::new());
    for change in changes() {
        let before = if change.before == BASE { base.clone() } else { made(&change.before) };
        let is_same = before == made(&change.after);
        match (is_same, NOT_YET.iter().any(|(path, _)| *path == change.path)) {
            (true, false) => dropped.push(change.path),
            (false, true) => obeyed.push(change.path),
            _ => {}
        }
    }
    assert!(dropped.is_empty(), "read, and then dropped: {dropped:#?}");
    assert!(obeyed.is_empty(), "obeyed, and still in NOT_YET: {obeyed:#?}");
}
