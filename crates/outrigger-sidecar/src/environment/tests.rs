use super::*;

fn facts() -> Facts {
    let outbound = "127.0.0.1:15900".parse().expect("an address");
    let admin = "127.0.0.1:15990".parse().expect("an address");
    Facts::new("pricing".parse().expect("a name"), 8080, outbound, admin)
}

fn of(facts: &Facts, inherited: &[(&str, &str)]) -> Environment {
    Environment::of(facts, |name| {
        inherited.iter().find(|(there, _)| *there == name).map(|(_, value)| value.into())
    })
}

fn value(environment: &Environment, name: &str) -> String {
    let value = environment.set.get(name).unwrap_or_else(|| panic!("{name} is set"));
    value.to_string_lossy().into_owned()
}

#[test]
fn a_child_is_told_its_port_its_proxy_and_its_name() {
    let environment = of(&facts(), &[]);
    for (name, wanted) in [
        ("PORT", "8080"),
        ("HTTP_PROXY", "http://127.0.0.1:15900"),
        ("http_proxy", "http://127.0.0.1:15900"),
        ("NO_PROXY", "localhost,127.0.0.1,::1"),
        ("no_proxy", "localhost,127.0.0.1,::1"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("OTEL_SERVICE_NAME", "pricing"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OUTRIGGER_BESIDE", "1"),
        ("OUTRIGGER_OUTBOUND", "127.0.0.1:15900"),
        ("OUTRIGGER_ADMIN", "127.0.0.1:15990"),
        ("OUTRIGGER_SERVICE", "pricing"),
    ] {
        assert_eq!(value(&environment, name), wanted, "{name}");
    }
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);
}

#[test]
fn options_of_a_jvm_are_kept_and_ours_come_after() {
    let environment = of(&facts(), &[("JAVA_TOOL_OPTIONS", "-Xmx64m")]);
    let options = value(&environment, "JAVA_TOOL_OPTIONS");
    assert!(options.starts_with("-Xmx64m -Dhttp.proxyHost=127.0.0.1 "), "{options}");
    assert!(options.contains("-Dhttp.proxyPort=15900"), "{options}");
    assert!(options.contains("-Dhttp.nonProxyHosts=localhost|127.*"), "{options}");
}

#[test]
fn hosts_that_are_asked_directly_are_kept_but_not_all_of_them() {
    let given = [("NO_PROXY", "db.internal, .svc"), ("no_proxy", "db.internal,x")];
    let hosts = value(&of(&facts(), &given), "no_proxy");
    assert_eq!(hosts, "db.internal,.svc,x,localhost,127.0.0.1,::1");

    let environment = of(&facts(), &[("no_proxy", "*")]);
    assert_eq!(value(&environment, "no_proxy"), "localhost,127.0.0.1,::1");
    assert_eq!(environment.notes.len(), 1, "{:?}", environment.notes);
}

#[test]
fn a_proxy_that_was_set_up_is_named_without_its_password() {
    let environment = of(&facts(), &[("HTTP_PROXY", "http://me:secret@corp:3128")]);
    assert_eq!(environment.notes.len(), 1);
    assert!(environment.notes[0].contains("corp:3128"), "{:?}", environment.notes);
    assert!(!environment.notes[0].contains("secret"), "{:?}", environment.notes);
}

#[test]
fn what_opentelemetry_was_told_before_stays() {
    let mut facts = facts();
    facts.version = Some("1.4.2 beta".into());
    facts.zone = Some("eu-1a".into());
    let environment = of(&facts, &[("OTEL_SERVICE_NAME", "mine"), ("OTEL_PROPAGATORS", "b3")]);
    assert!(!environment.set.contains_key("OTEL_SERVICE_NAME"));
    assert!(!environment.set.contains_key("OTEL_PROPAGATORS"));
    assert_eq!(
        value(&environment, "OTEL_RESOURCE_ATTRIBUTES"),
        "service.version=1.4.2%20beta,cloud.availability_zone=eu-1a"
    );
}

#[test]
fn each_local_port_has_its_variable() {
    let mut facts = facts();
    let at = "127.0.0.1:15901".parse().expect("an address");
    facts.upstreams.push(("inventory-eu.v2".parse().expect("a name"), at, false));
    facts.upstreams.push(("db".parse().expect("a name"), at, true));
    let environment = of(&facts, &[("DB_URL", "tcp://prod:1")]);
    assert_eq!(value(&environment, "INVENTORY_EU_V2_URL"), "http://127.0.0.1:15901");
    assert_eq!(value(&environment, "DB_URL"), "tcp://127.0.0.1:15901");
}

#[test]
fn flags_of_this_process_are_not_inherited_and_nested_ones_name_their_own_child() {
    let nested = [
        ("OUTRIGGER_BESIDE", "1"),
        ("OUTRIGGER_SERVICE", "outer"),
        ("OTEL_SERVICE_NAME", "outer"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    let environment = of(&facts(), &nested);
    assert!(environment.removed.contains(&"OUTRIGGER_CONFIG"));
    assert!(environment.removed.contains(&"OUTRIGGER_PORT"));
    assert_eq!(value(&environment, "OTEL_SERVICE_NAME"), "pricing");
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);
}
