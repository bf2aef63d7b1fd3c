use outrigger_core::{Dialect, Language, Protocol};

use super::*;

fn service() -> ServiceName {
    "inventory".parse().expect("valid")
}

fn read_text(text: &str) -> Result<Instances, Refused> {
    instances(text.as_bytes(), &service(), 100)
}

fn class(text: &str) -> &'static str {
    read_text(text).expect_err(text).class
}

fn entry(address: &str, port: &str) -> String {
    let head = r#""Node":{"Node":"n1","Address":"10.0.0.9","Datacenter":"dc1"},"Checks":[]"#;
    format!(r#"{{{head},"Service":{{"ID":"i-{port}","Address":{address},"Port":{port}}}}}"#)
}

#[test]
fn a_recorded_go_registration_is_understood() {
    let body = include_bytes!("../../tests/data/go-health.json");
    let read = instances(body, &service(), 100).expect("a good answer");
    let [instance] = &*read.list else { panic!("one instance: {read:?}") };
    assert_eq!(instance.id.as_str(), "inventory-1");
    assert_eq!(instance.address.to_string(), "127.0.0.1:9101");
    assert_eq!((instance.status, instance.protocol), (Status::Passing, Protocol::Http));
    assert_eq!(instance.language, Some(Language::Go));
    assert_eq!(instance.version.as_deref(), Some("1.2.3"));
    assert_eq!(instance.dialect, Dialect::Fabio);
    assert_eq!(instance.node.as_deref(), Some("node-1"));
    assert_eq!(instance.datacenter.as_deref(), Some("dc1"));
}

#[test]
fn recorded_spring_registrations_are_understood() {
    #[derive(Deserialize)]
    struct Recorded {
        label: String,
        path: String,
        body: serde_json::Value,
    }
    let recorded = include_str!("../../tests/data/spring-registration.json");
    let recorded: Vec<Recorded> = serde_json::from_str(recorded).expect("a recording");
    let mut seen = Vec::new();
    for Recorded { label, path, body } in recorded {
        if !path.starts_with("/v1/health/service/") {
            continue;
        }
        let read = read_text(&body.to_string()).expect("a good answer");
        for instance in &read.list {
            assert_eq!(instance.dialect, Dialect::Spring, "{label}");
            assert_eq!(instance.protocol, Protocol::Http, "secure=false");
            assert_eq!(instance.address.port(), 8081);
        }
        seen.push((label, read.list.first().map(|instance| instance.status)));
    }
    let status =
        |label: &str| seen.iter().find(|(l, _)| l == label).unwrap_or_else(|| panic!("{label}")).1;
    assert_eq!(status("t0-just-after-start"), Some(Status::Passing));
    assert_eq!(status("t2-after-SIGTERM"), None);
    assert_eq!(status("t4-after-kill-9"), Some(Status::Critical));
    assert!(status("consul-1.22.7").is_some());
}

#[test]
fn an_instance_without_an_address_has_its_nodes() {
    let read = read_text(&format!("[{}]", entry("\"\"", "9102"))).expect("a good answer");
    assert_eq!(read.list[0].address.to_string(), "10.0.0.9:9102");
}

#[test]
fn an_instance_nobody_could_connect_to_is_left_out_and_the_rest_is_used() {
    let good = entry("\"10.0.0.1\"", "80");
    let read = read_text(&format!("[{good},{}]", entry("\"10.0.0.1\"", "0"))).expect("one is good");
    assert_eq!((read.list.len(), read.left_out["bad_port"]), (1, 1));
}

#[test]
fn an_answer_in_which_nothing_is_any_good_is_refused_by_its_class() {
    let none = r#"{"Service":{"ID":"a","Port":80}}"#;
    assert_eq!(class(&format!("[{none}]")), "empty_address");
    for (address, port, wanted) in [
        ("\"10.0.0.1\"", "0", "bad_port"),
        ("\"10.0.0.1\"", "70000", "bad_port"),
        ("\"10.0.0.1\"", "-1", "bad_port"),
        ("\"0.0.0.0\"", "80", "unspecified_address"),
        ("\"::\"", "80", "unspecified_address"),
        ("\"::ffff:0.0.0.0\"", "80", "unspecified_address"),
        ("\"169.254.169.254\"", "80", "link_local_address"),
        ("\"::ffff:169.254.1.1\"", "80", "link_local_address"),
        ("\"fe80::1\"", "80", "link_local_address"),
        ("\"224.0.0.1\"", "80", "multicast_address"),
        ("\"255.255.255.255\"", "80", "multicast_address"),
        ("\"10.0.0.1\\nHost: evil\"", "80", "bad_address"),
        ("\"10.0.0.1 \"", "80", "bad_address"),
        ("\"a/b\"", "80", "bad_address"),
        ("\"0x7f.1\"", "80", "bad_address"),
        ("\"10.0.1\"", "80", "bad_address"),
        ("\"a..b\"", "80", "bad_address"),
        ("\"user@host\"", "80", "bad_address"),
    ] {
        assert_eq!(class(&format!("[{}]", entry(address, port))), wanted, "{address} {port}");
    }
    assert_eq!(class(r#"[{"Service":{"ID":"","Port":1}}]"#), "bad_id");
    assert_eq!(class(r#"[{"Service":{"ID":"a\nb","Port":1}}]"#), "bad_id");
}

#[test]
fn what_is_no_list_of_instances_is_refused_by_its_class() {
    assert_eq!(class(""), "truncated");
    assert_eq!(class("[{\"Service\":{\"ID\":"), "truncated");
    assert_eq!(class("{}"), "wrong_type");
    assert_eq!(class("null"), "wrong_type");
    assert_eq!(class("[1]"), "wrong_type");
    assert_eq!(class("[{}]"), "wrong_type");
    assert_eq!(class(r#"[{"Service":{"ID":"a","Port":"80"}}]"#), "wrong_type");
    assert_eq!(class(r#"[{"Service":{"ID":7,"Port":80}}]"#), "wrong_type");
    assert_eq!(class("<html>"), "not_json");
    assert_eq!(class("[] x"), "not_json");
    assert_eq!(instances(b"[\xff]", &service(), 9).expect_err("no text").class, "bad_utf8");
    let deep = "[".repeat(100_000);
    assert!(matches!(class(&deep), "wrong_type" | "too_deep"));
    let inside = format!(r#"[{{"Service":{{"ID":"a","Port":1}},"X":{deep}"#);
    assert!(matches!(class(&inside), "truncated" | "too_deep"), "{}", class(&inside));
    let many = vec![entry("\"10.0.0.1\"", "80"); 101].join(",");
    assert_eq!(class(&format!("[{many}]")), "too_many");
}

#[test]
fn the_worst_check_decides_and_an_unknown_word_is_critical() {
    let with = |checks: &str| {
        let text = format!(
            r#"[{{"Service":{{"ID":"a","Address":"10.0.0.1","Port":1}},"Checks":{checks}}}]"#
        );
        read_text(&text).expect("a good answer").list[0].status
    };
    assert_eq!(with("[]"), Status::Passing);
    assert_eq!(with("null"), Status::Passing);
    assert_eq!(with(r#"[{"Status":"passing"},{"Status":"warning"}]"#), Status::Warning);
    assert_eq!(with(r#"[{"Status":"critical"},{"Status":"warning"}]"#), Status::Critical);
    assert_eq!(with(r#"[{"Status":"splendid"}]"#), Status::Critical);
}

#[test]
fn ids_that_several_nodes_share_are_told_apart_and_twice_on_one_node_is_once() {
    let on = |node: &str, address: &str| {
        let node = format!(r#""Node":{{"Node":"{node}","Address":"{address}"}}"#);
        format!(r#"{{{node},"Service":{{"ID":"inventory","Port":80}}}}"#)
    };
    let text =
        format!("[{},{},{}]", on("n1", "10.0.0.1"), on("n2", "10.0.0.2"), on("n2", "10.0.0.3"));
    let read = read_text(&text).expect("a good answer");
    let ids: Vec<_> = read.list.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["inventory@n1", "inventory@n2"]);
    assert_eq!(read.left_out["duplicate_id"], 1);
}

#[test]
fn weights_are_honoured_and_strange_ones_are_bounded() {
    let with = |weights: &str| {
        let body = format!(r#""ID":"a","Address":"10.0.0.1","Port":1,"Weights":{weights}"#);
        let read = read_text(&format!(r#"[{{"Service":{{{body}}}}}]"#)).expect("a good answer");
        read.list[0].weights
    };
    assert_eq!(with(r#"{"Passing":10,"Warning":2}"#), Weights { passing: 10, warning: 2 });
    assert_eq!(
        with(r#"{"Passing":-1,"Warning":99999999}"#),
        Weights { passing: 0, warning: u16::MAX }
    );
    assert_eq!(with("null"), Weights::default());
    assert_eq!(with("{}"), Weights::default());
}

#[test]
fn a_name_is_kept_as_a_name() {
    let read = read_text(&format!("[{}]", entry("\"stock.svc.example\"", "80"))).expect("good");
    assert_eq!(read.list[0].address, Address::Name("stock.svc.example".into(), 80));
}
