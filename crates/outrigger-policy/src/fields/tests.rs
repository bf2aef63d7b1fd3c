use super::*;
use crate::model::Policy;
use crate::source::{Format, Source};
use crate::tree::{self, Node};

fn read(text: &str) -> Policy {
    match Policy::parse("x.yaml", text, Format::Yaml) {
        Ok(parsed) => {
            let mut policy = parsed.policy;
            policy.version = outrigger_core::PolicyVersion::default();
            policy
        }
        Err(report) => panic!("{report}"),
    }
}

/// Every section of the table with the text that leads to it and the text that it needs.
fn sections() -> Vec<(&'static str, &'static str, &'static Section)> {
    let below = |path: &[&str]| {
        let mut table = &POLICY;
        for key in path {
            table = table.field(key).and_then(|field| below(&field.kind)).expect(key);
        }
        table
    };
    vec![
        ("", "", below(&[])),
        ("mesh: {", "}", below(&["mesh"])),
        ("retry: {", "}", below(&["retry"])),
        ("retry: { backoff: {", "} }", below(&["retry", "backoff"])),
        ("retry: { budget: {", "} }", below(&["retry", "budget"])),
        ("hedge: {", "}", below(&["hedge"])),
        ("rate_limits: [ { rate: 1/s,", "} ]", below(&["rate_limits"])),
        ("balance: {", "}", below(&["balance"])),
        ("balance: { slow_start: {", "} }", below(&["balance", "slow_start"])),
        ("balance: { locality: {", "} }", below(&["balance", "locality"])),
        ("eject: {", "}", below(&["eject"])),
        ("breaker: {", "}", below(&["breaker"])),
        ("breaker: { fallback: {", "} }", below(&["breaker", "fallback"])),
        ("capacity: {", "}", below(&["capacity"])),
        ("capacity: { adaptive: {", "} }", below(&["capacity", "adaptive"])),
        ("inbound: {", "}", below(&["inbound"])),
        ("inbound: { concurrency: {", "} }", below(&["inbound", "concurrency"])),
        ("inbound: { shed: {", "} }", below(&["inbound", "shed"])),
        ("inbound: { authorize: {", "} }", below(&["inbound", "authorize"])),
        ("inbound: { rate_limits: [ { rate: 1/s,", "} ] }", below(&["inbound", "rate_limits"])),
        ("telemetry: {", "}", below(&["telemetry"])),
        (
            "subsets: { s: {} }\nroutes: [ { mirror: { subset: s,",
            "} } ]",
            below(&["routes", "mirror"]),
        ),
        (
            "subsets: { s: {} }\nroutes: [ { mirror: { subset: s, compare: {",
            "} } } ]",
            below(&["routes", "mirror", "compare"]),
        ),
        (
            "routes: [ { fault: { abort: { ratio: 0.5,",
            "} } } ]",
            below(&["routes", "fault", "abort"]),
        ),
    ]
}

fn below(kind: &Kind) -> Option<&'static Section> {
    match kind {
        Kind::Table(table) | Kind::OneOf(table) => Some(table),
        Kind::Either(kinds) => kinds.iter().find_map(below),
        Kind::List { of, .. } | Kind::Map { of, .. } => below(of),
        _ => None,
    }
}

#[test]
fn each_default_of_the_table_is_what_an_absent_key_means() {
    let mut looked_at = 0;
    for (before, after, table) in sections() {
        let join = if before.is_empty() { "\n" } else { ", " };
        let text = |own: &str| match before {
            "" => format!(
                "service: inventory\n{own}{}",
                if own.starts_with("version") { "" } else { "version: 1\n" }
            ),
            _ => format!("version: 1\nservice: inventory\n{before} {own} {after}\n"),
        };
        let absent = read(&text("").replace(", }", " }"));
        for field in table.fields {
            let Absent::Is(value) = field.default else { continue };
            let own = format!("{}: {value}{}", field.key, join.trim_end_matches([',', ' ']));
            looked_at += 1;
            assert_eq!(read(&text(&own)), absent, "{} {own}", table.name);
        }
    }
    assert!(looked_at > 80, "{looked_at} defaults");
}

#[test]
fn each_example_of_the_table_is_allowed() {
    fn look(table: &'static Section, path: &str, done: &mut Vec<*const Section>) {
        if done.contains(&std::ptr::from_ref(table)) {
            return;
        }
        done.push(std::ptr::from_ref(table));
        for field in table.fields {
            let text = format!("x: {}\n", field.example);
            let source = Source::new("x", &text);
            let (tree, findings) = tree::read(&source, Format::Yaml);
            assert!(findings.is_empty(), "{path}.{}: {findings:?}", field.key);
            let node = tree.as_ref().and_then(|tree| tree.get("x")).expect("a value");
            let mut out = crate::check::Findings::new(&source, Vec::new());
            crate::check::value(node, &field.kind, "x", &mut out);
            assert!(out.all.is_empty(), "{path}.{}: {:?}", field.key, out.all);
            assert!(field.doc.ends_with(['.', '`']), "{path}.{}", field.key);
            if let Some(table) = below(&field.kind) {
                look(table, &format!("{path}.{}", field.key), done);
            }
        }
    }
    look(&POLICY, "", &mut Vec::new());
}

#[test]
fn the_tour_uses_every_field() {
    // A section that stands in several places is used when one of them uses it.
    type Uses = std::collections::BTreeMap<(String, &'static str), bool>;
    fn look(table: &'static Section, nodes: &[&Node], uses: &mut Uses) {
        let name = table.name.trim_start_matches("routes.").to_owned();
        for field in table.fields {
            let found: Vec<_> = nodes.iter().filter_map(|node| node.get(field.key)).collect();
            let used = uses.entry((name.clone(), field.key)).or_default();
            *used |= !found.is_empty();
            let Some(table) = below(&field.kind) else { continue };
            // Entries of lists and of chosen names stand for one another.
            let below: Vec<&Node> = match field.kind {
                Kind::List { .. } => found.iter().flat_map(|node| node.items()).collect(),
                Kind::Map { .. } => {
                    found.iter().flat_map(|node| node.entries()).map(|(_, node)| node).collect()
                }
                _ => found,
            };
            if !below.is_empty() {
                look(table, &below, uses);
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/policies/tour.yaml");
    let text = std::fs::read_to_string(path).expect("the tour");
    let source = Source::new("tour.yaml", &text);
    let tree = tree::read(&source, Format::Yaml).0.expect("a tree");
    let mut uses = Uses::new();
    look(&POLICY, &[&tree], &mut uses);
    let missing: Vec<_> = uses.iter().filter(|(_, used)| !**used).map(|(key, _)| key).collect();
    // Its cookie stands in `sticky`; the long form of `adaptive` would hide the short one.
    let short = |(name, key): &&&(String, &str)| {
        name == "hash_on" && *key == "cookie" || name == "adaptive"
    };
    let missing: Vec<_> = missing.iter().filter(|key| !short(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What the file means when it is not there, by the words of the design.
#[test]
fn the_defaults_are_those_that_were_decided() {
    let policy = read("version: 1\nservice: inventory\n");
    let mut without = Policy::default();
    without.service.clone_from(&policy.service);
    assert_eq!(policy, without);
    let table = [
        ("timeout", "15s"),
        ("idle_timeout", "5m"),
        ("connect_timeout", "1s"),
        ("retry.attempts", "1"),
        ("retry.when", "[connect_failure, refused_stream]"),
        ("retry.methods", "idempotent"),
        ("retry.backoff.base", "25ms"),
        ("retry.backoff.max", "250ms"),
        ("retry.budget.ratio", "0.2"),
        ("retry.budget.min_concurrent", "3"),
        ("retry.budget.min_per_second", "10"),
        ("retry.body_limit", "64KiB"),
        ("hedge.max", "1"),
        ("balance.algorithm", "peak_ewma"),
        ("balance.slow_start.window", "30s"),
        ("balance.slow_start.aggression", "1.0"),
        ("balance.slow_start.floor", "0.1"),
        ("balance.locality.spill_below", "0.7"),
        ("balance.aperture", "none"),
        ("balance.panic_below", "0.5"),
        ("eject.consecutive_errors", "5"),
        ("eject.errors", "server"),
        ("eject.interval", "10s"),
        ("eject.base_time", "30s"),
        ("eject.max_time", "300s"),
        ("eject.max_ejected", "0.5"),
        ("breaker.mode", "enforce"),
        ("breaker.failure_ratio", "0.5"),
        ("breaker.window", "10s"),
        ("breaker.min_calls", "20"),
        ("breaker.open_for", "5s"),
        ("breaker.max_open_for", "60s"),
        ("breaker.probes", "3"),
        ("capacity.max_requests", "1024"),
        ("capacity.max_connections", "256"),
        ("capacity.max_pending", "256"),
        ("capacity.adaptive", "none"),
        ("inbound.concurrency.max_in_flight", "256"),
        ("inbound.authorize.mode", "enforce"),
        ("inbound.authorize.default", "deny"),
        ("telemetry.sample", "0.01"),
        ("telemetry.access_log", "errors"),
    ];
    for (path, wanted) in table {
        let mut section = &POLICY;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            let field = section.field(key).expect(path);
            match keys.peek() {
                Some(_) => section = below(&field.kind).expect(path),
                None => assert_eq!(field.default, Absent::Is(wanted), "{path}"),
            }
        }
    }
}
