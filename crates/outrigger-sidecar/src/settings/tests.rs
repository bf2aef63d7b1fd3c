use outrigger_policy::{Format, Written};

use super::*;
use crate::project::{Guess, Guessed};

fn given(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Given<'static> {
    let mut given = Given::new(Mode::Sidecar);
    for (flag, value) in flags {
        match given.flags.iter_mut().find(|(there, _)| there == flag) {
            Some((_, values)) => values.push((*value).to_owned()),
            None => given.flags.push(((*flag).to_owned(), vec![(*value).to_owned()])),
        }
    }
    given.variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    given
}

fn settings(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Settings {
    Settings::resolve(&given(flags, variables)).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    Settings::resolve(&given(flags, variables)).expect_err("is refused").to_string()
}

fn told(settings: &Settings, key: &str) -> String {
    let told = settings.told().into_iter().find(|told| told.key == key).expect("a key");
    told.to_string()
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let lines: Vec<String> = settings(&[], &[]).told().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "service = none (default)",
            "register = true (default)",
            "port = none (default)",
            "socket = none (default)",
            "protocol = http (default)",
            "language = none (default)",
            "version = none (default)",
            "zone = none (default)",
            "tag = none (default)",
            "health = none (default)",
            "drain = 30s (default)",
            "inbound = 127.0.0.1:0 (default: the registry is on loopback)",
            "advertise = the inbound address (default)",
            "tls_cert = none: in the clear (default)",
            "tls_key = none (default)",
            "outbound = 127.0.0.1:15900 (default)",
            "admin = 127.0.0.1:15990 (default)",
            "probe = off (default)",
            "consul = http://127.0.0.1:8500 (default)",
            "snapshot = none (default)",
            "policy = none (default)",
            "endpoints = none (default)",
            "upstream = none (default)",
            "unknown = refuse (default: for `sidecar`)",
            "connect = none (default)",
            "upgrade = none (default)",
            "trust = loopback registry (default)",
            "edge = false (default)",
            "workers = one for each core (default)",
        ]
    );
}

#[test]
fn a_flag_beats_a_variable_that_beats_the_file_that_beats_the_project() {
    let written =
        Written::read("s.toml", "zone = 'file'\nversion = 'file'\n", Format::Toml).expect("reads");
    let guess = |value: &str| Some(Guessed { value: value.into(), from: "package.json".into() });
    let mut given =
        given(&[("zone", "flag")], &[("OUTRIGGER_ZONE", "variable"), ("OUTRIGGER_PORT", "8080")]);
    given.file = Some(&written);
    given.guess = Guess { service: guess("orders"), version: guess("project"), ..Guess::NOTHING };
    let settings = Settings::resolve(&given).expect("valid");
    assert_eq!(told(&settings, "zone"), "zone = flag (--zone)");
    assert_eq!(told(&settings, "port"), "port = 8080 (OUTRIGGER_PORT)");
    assert_eq!(told(&settings, "version"), "version = file (s.toml:2:11)");
    assert_eq!(told(&settings, "service"), "service = orders (guessed: package.json)");
}

#[test]
fn lists_are_taken_whole_from_the_first_that_names_them() {
    let variables =
        [("OUTRIGGER_POLICY", "a.yaml; b ;"), ("OUTRIGGER_TRUST", "loopback,10.0.0.0/8")];
    let of_variables = settings(&[], &variables);
    assert_eq!(told(&of_variables, "policy"), "policy = a.yaml b (OUTRIGGER_POLICY)");
    assert_eq!(told(&of_variables, "trust"), "trust = loopback 10.0.0.0/8 (OUTRIGGER_TRUST)");
    let of_flags = settings(&[("policy", "c.yaml"), ("policy", "d;e")], &variables);
    assert_eq!(told(&of_flags, "policy"), "policy = c.yaml d;e (--policy)");
    let upstreams = [("OUTRIGGER_UPSTREAM", "inventory=127.0.0.1:15901;db=tcp://127.0.0.1:15432")];
    assert_eq!(
        told(&settings(&[], &upstreams), "upstream"),
        "upstream = inventory=127.0.0.1:15901 db=tcp://127.0.0.1:15432 (OUTRIGGER_UPSTREAM)"
    );
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = "service = \"orders\"\nport = 8080\nregister = false\npolicy = [\"a\", \"b\"]\n\
        trust = \"loopback,registry\"\n[endpoints]\ninventory = [\"10.0.0.1:80\", \"h:81\"]\n\
        [upstream]\ndb = \"tcp://127.0.0.1:15432\"\n";
    let yaml = "service: orders\nport: 8080\nregister: false\npolicy: [a, b]\n\
        trust: [loopback, registry]\nendpoints: { inventory: [10.0.0.1:80, h:81] }\n\
        upstream: { db: tcp://127.0.0.1:15432 }\n";
    let values = |name: &str, text: &str| {
        let written = Written::read(name, text, Format::of_name(name)).expect("reads");
        let mut given = Given::new(Mode::Sidecar);
        given.file = Some(&written);
        let settings = Settings::resolve(&given).unwrap_or_else(|error| panic!("{error}"));
        settings.told().into_iter().map(|told| (told.key, told.value)).collect::<Vec<_>>()
    };
    let of_toml = values("s.toml", toml);
    assert_eq!(of_toml, values("s.yaml", yaml));
    assert!(of_toml.contains(&("endpoints", serde_json::json!(["inventory=10.0.0.1:80,h:81"]))));
}

#[test]
fn where_the_registry_is_decides_who_may_connect() {
    for (consul, wanted) in [
        ("http://localhost:8500", "inbound = 127.0.0.1:0 (default: the registry is on loopback)"),
        ("unix:///run/consul.sock", "inbound = 127.0.0.1:0 (default: the registry is on loopback)"),
        ("http://consul:8500", "inbound = 0.0.0.0:0 (default)"),
        ("none", "inbound = 0.0.0.0:0 (default)"),
    ] {
        assert_eq!(told(&settings(&[("consul", consul)], &[]), "inbound"), wanted, "{consul}");
    }
    let variables = [("CONSUL_HTTP_ADDR", "10.0.0.9:8500")];
    let settings = settings(&[], &variables);
    assert_eq!(told(&settings, "consul"), "consul = http://10.0.0.9:8500 (CONSUL_HTTP_ADDR)");
    assert_eq!(told(&settings, "inbound"), "inbound = 0.0.0.0:0 (default)");
}

#[test]
fn switches_are_read_in_every_layer() {
    assert!(!settings(&[("no-register", "true")], &[]).register.value);
    assert!(!settings(&[], &[("OUTRIGGER_NO_REGISTER", "1")]).register.value);
    assert!(settings(&[], &[("OUTRIGGER_NO_REGISTER", "0")]).register.value);
    assert!(settings(&[], &[("OUTRIGGER_EDGE", "true")]).edge.value);
    assert!(refused(&[], &[("OUTRIGGER_EDGE", "maybe")]).contains("OUTRIGGER_EDGE: `edge`"));
}

#[test]
fn what_run_gives_its_child_is_no_flag_of_a_nested_command() {
    let variables = [
        ("OUTRIGGER_BESIDE", "1"),
        ("OUTRIGGER_SERVICE", "outer"),
        ("OUTRIGGER_OUTBOUND", "127.0.0.1:4001"),
        ("OUTRIGGER_ADMIN", "127.0.0.1:4002"),
        ("OTEL_SERVICE_NAME", "outer"),
    ];
    let nested = settings(&[], &variables);
    assert_eq!(nested.service.value, None);
    assert_eq!(nested.outbound.value, Place::Tcp(DEFAULT_OUTBOUND));
    assert_eq!(nested.admin.value, DEFAULT_ADMIN);
    let outer = settings(&[("port", "80")], &variables[1..]);
    assert_eq!(outer.service.value.expect("a name").as_str(), "outer");
}

#[test]
fn a_name_for_traces_is_the_name_of_the_service() {
    let settings = settings(&[("port", "80")], &[("OTEL_SERVICE_NAME", "orders")]);
    assert_eq!(told(&settings, "service"), "service = orders (OTEL_SERVICE_NAME)");
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    let text = refused(&[("consul", "http://me:secret@consul:8500")], &[]);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn every_key_has_an_example_that_it_allows() {
    let beside_others = ["advertise", "health", "tls_cert", "tls_key"];
    for key in KEYS.iter().filter(|key| !beside_others.contains(&key.name)) {
        let mut flags = vec![(key.flag, key.example)];
        if key.is_negated() {
            flags[0].1 = "true";
        }
        if ["port", "socket"].contains(&key.name) {
            flags.push(("service", "orders"));
        }
        let _valid = settings(&flags, &[]);
    }
    let mut flags = vec![("service", "a"), ("port", "1")];
    let rest = KEYS.iter().filter(|key| beside_others.contains(&key.name));
    flags.extend(rest.map(|key| (key.flag, key.example)));
    let _valid = settings(&flags, &[]);
}

#[test]
fn every_flag_has_its_variable() {
    for key in KEYS {
        let variable = format!("OUTRIGGER_{}", key.flag.replace('-', "_").to_uppercase());
        assert_eq!(key.variable, variable, "--{}", key.flag);
    }
}
