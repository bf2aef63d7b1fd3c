//! `outrigger services` and `outrigger resolve`, as they are typed: the program itself, beside the
//! development agent.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use outrigger::consul::{Consul, ConsulConfig};
use outrigger::core::Language;
use outrigger::discovery::{Check, Registered, Registrar, Registration};
use outrigger_dev::Agent;
use serde_json::Value;
use tokio::task::spawn_blocking;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The program with nothing of the surroundings in its environment.
fn program(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OUTRIGGER_") || text.starts_with("CONSUL_") {
            command.env_remove(&name);
        }
    }
    command.args(arguments).env("CONSUL_HTTP_ADDR", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Code, stdout and stderr.
async fn run(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = program(url, arguments);
    let output = spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

struct Stage {
    agent: Agent,
    consul: Consul,
    _registered: Vec<Registered>,
}

impl Stage {
    async fn open() -> Self {
        let agent = Agent::builder().bind(LOOPBACK).await.expect("an agent");
        let url = agent.url();
        let of = |variable: &str| (variable == "CONSUL_HTTP_ADDR").then(|| url.clone());
        let consul = Consul::new(ConsulConfig::from_lookup(of).expect("valid")).expect("a client");
        let mut stage = Self { agent, consul, _registered: Vec::new() };
        for (service, port, language, zone) in [
            ("inventory", 4001, Language::Java, "a"),
            ("inventory", 4002, Language::Rust, "b"),
            ("pricing", 4003, Language::Python, "a"),
        ] {
            stage.register(service, port, language, zone, Vec::new()).await;
        }
        stage
    }

    async fn register(
        &mut self,
        service: &str,
        port: u16,
        language: Language,
        zone: &str,
        checks: Vec<Check>,
    ) {
        let registration = Registration::new(service.parse().expect("a name"), port)
            .with_address(LOOPBACK.ip())
            .with_language(language)
            .with_version("1.2.0")
            .with_zone(zone)
            .with_tag("blue")
            .with_checks(checks);
        let registered = self.consul.register(registration).await.expect("valid");
        registered.settled().await;
        self._registered.push(registered);
    }
}

/// Ended with its handle, also by a panic.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_shown_as_a_table_and_as_the_documented_array() {
    let stage = Stage::open().await;
    let (code, table, _) = run(&stage.agent.url(), &["services"]).await;
    assert_eq!(code, Some(0));
    let line = table.lines().find(|line| line.starts_with("inventory")).expect("a line of it");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells, ["inventory", "java,rust", "1.2.0", "2", "0", "0", "a,b", "outrigger"]);

    let (code, out, err) = run(&stage.agent.url(), &["services", "--json"]).await;
    assert_eq!((code, &*err), (Some(0), ""));
    let rows: Vec<Value> = serde_json::from_str(&out).expect("one document");
    let java = rows.iter().find(|row| row["language"] == "java").expect("there");
    for key in [
        "service", "id", "address", "port", "language", "version", "zone", "dialect", "status",
        "tags", "meta",
    ] {
        assert!(java.get(key).is_some(), "{key} in {java}");
    }
    assert_eq!((java["address"].as_str(), java["port"].as_u64()), (Some("127.0.0.1"), Some(4001)));
    assert_eq!(
        (java["status"].as_str(), java["dialect"].as_str()),
        (Some("passing"), Some("outrigger"))
    );
    assert!(java["tags"].as_array().expect("an array").contains(&"blue".into()), "{java}");

    let url = stage.agent.url();
    let (_, out, _) = run(&url, &["services", "pricing", "--json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&out).expect("one document");
    assert!(rows.len() == 1 && rows[0]["service"] == "pricing", "{out}");
    let (_, out, _) = run(&url, &["services", "--language", "python", "--json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&out).expect("one document");
    assert!(rows.len() == 1 && rows[0]["language"] == "python", "{out}");
    let (code, out, err) = run(&url, &["services", "nobody", "--json"]).await;
    assert_eq!((code, out.trim(), &*err), (Some(1), "[]", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_a_line_for_each_change_until_it_is_interrupted() {
    let mut stage = Stage::open().await;
    let url = stage.agent.url();
    let child = program(&url, &["services", "--watch", "--json"]).spawn().expect("it runs");
    let mut child = Running(child);
    let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
    let mut next = move || {
        let line = lines.next().expect("it goes on").expect("text");
        serde_json::from_str::<Vec<Value>>(&line).expect("one document a line")
    };
    let (rows, mut next) = spawn_blocking(move || (next(), next)).await.expect("a line");
    assert!(rows.iter().all(|row| row["service"] != "billing"), "{rows:?}");
    stage.register("billing", 4004, Language::Node, "a", Vec::new()).await;
    let seen = spawn_blocking(move || {
        // What comes in two pieces is printed twice.
        while !next().iter().any(|row| row["service"] == "billing") {}
    });
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, seen).await.expect("it is seen").expect("no panic");

    let pid = child.0.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let code = spawn_blocking(move || child.0.wait().expect("it ends").code()).await;
    assert_eq!(code.expect("no panic"), Some(130));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_would_get_is_told_with_the_reason_for_the_rest() {
    let mut stage = Stage::open().await;
    let url = stage.agent.url();
    let (code, out, err) = run(&url, &["resolve", "inventory", "--json"]).await;
    assert_eq!((code, &*err), (Some(0), ""));
    let rows: Vec<Value> = serde_json::from_str(&out).expect("one document");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["picked"] == true && row["why"].is_null()), "{out}");

    // Nothing listens there, so its check is critical from the start.
    let tcp = Check::tcp("127.0.0.1:9");
    stage.register("inventory", 4009, Language::Go, "a", vec![tcp]).await;
    let (code, table, _) = run(&url, &["resolve", "inventory"]).await;
    assert_eq!(code, Some(0));
    let line = table.lines().find(|line| line.contains(":4009")).expect("its line");
    assert!(line.ends_with("left out: critical in the registry"), "{table}");
    assert_eq!(table.matches("gets requests").count(), 2, "{table}");

    let (code, out, err) = run(&url, &["resolve", "nobody"]).await;
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.contains("the registry knows no instance of `nobody`"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_does_not_answer_ends_with_three_and_says_what_to_do() {
    let gone = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let url = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    for command in [&["services"][..], &["resolve", "inventory"]] {
        let (code, out, err) = run(&url, command).await;
        assert_eq!((code, &*out), (Some(3), ""), "{err}");
        assert!(err.contains(&url) && err.contains("--consul URL"), "{err}");
    }
    let (code, _, err) = run("http://127.0.0.1:1", &["services", "--consul", "none"]).await;
    assert_eq!(code, Some(2), "{err}");
}
