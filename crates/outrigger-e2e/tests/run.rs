//! `outrigger run` against the real Consul: programs that know nothing of it join, serve and leave.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::process::{Process, forget, outrigger, until_some, wait_for};
use outrigger_e2e::raw::Ask;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A service in Python that knows nothing of registries: what it answers, how long it takes, and
/// that it tells who is still registered when it is told to end.
const PRICING: &str = r#"
import http.server, json, os, signal, socketserver, sys, threading, time, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path.startswith('/slow'):
            print('slow began', flush=True)
            time.sleep(1.5)
        body = self.path.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
def ended(*args):
    with urllib.request.urlopen(os.environ['REGISTRY'] + '/v1/health/service/pricing') as answer:
        print('told to end, registered:', len(json.load(answer)), flush=True)
    os._exit(17)
signal.signal(signal.SIGTERM, ended)
if 'ITSELF' in os.environ:
    port = int(os.environ['PORT'])
    entry = {'Name': 'pricing', 'ID': 'itself', 'Address': '127.0.0.1', 'Port': port}
    ask = urllib.request.Request(os.environ['REGISTRY'] + '/v1/agent/service/register',
                                 json.dumps(entry).encode(), method='PUT')
    urllib.request.urlopen(ask).close()
Server(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"#;

/// The service under `outrigger run`, at a registry.
struct Ran {
    process: Process,
    folder: TempDir,
}

fn consul() -> Option<RealConsul> {
    let there = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    let builder = RealConsul::builder(Version::New)?;
    assert!(there.is_ok_and(|status| status.success()), "OUTRIGGER_E2E=1 but there is no python3");
    Some(builder.start().expect("the agent starts"))
}

fn pricing(consul: &RealConsul, flags: &[&str], variables: &[(&str, &str)]) -> Ran {
    let folder = TempDir::new().expect("a folder");
    let project = folder.path().join("src");
    fs::create_dir(&project).expect("a folder");
    let text = "[project]\nname = 'pricing'\nversion = '2.1'\n";
    fs::write(project.join("pyproject.toml"), text).expect("writes");
    fs::write(project.join("app.py"), PRICING).expect("writes");
    let mut command = Command::new(outrigger());
    forget(&mut command, |name| {
        ["OUTRIGGER_", "CONSUL_", "OTEL_"].iter().any(|own| name.starts_with(own))
    });
    command.arg("run").args(["--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(flags);
    command.args(["--", "python3", "app.py"]).current_dir(&project);
    command.env("CONSUL_HTTP_ADDR", consul.url()).env("REGISTRY", consul.url());
    command.envs(variables.iter().copied());
    let process = Process::start("pricing", folder.path(), &mut command).expect("it starts");
    Ran { process, folder }
}

impl Ran {
    fn said(&self, what: &str) -> String {
        let found = || {
            let log = self.process.log();
            log.lines().find_map(|line| Some(line.split_once(what)?.1.to_owned()))
        };
        until_some(PATIENCE, found).unwrap_or_else(|| panic!("{what:?} in {}", self.process.log()))
    }

    fn address(&self, of: &str) -> SocketAddr {
        self.said(&format!("{of} ")).trim().parse().expect("an address")
    }

    /// The code it ended with, told by whoever waited for it.
    fn ends_with(mut self, well: bool) -> String {
        let ended = self.process.wait(PATIENCE);
        assert_eq!(ended, Some(well), "{}", self.process.log());
        assert!(self.folder.path().is_dir(), "its log is there as long as it runs");
        self.process.log()
    }
}

fn entries(consul: &RealConsul, query: &str) -> Vec<Value> {
    let answer = consul.ask("GET", &format!("/v1/health/service/pricing{query}"), b"");
    let answer = answer.ok().and_then(|answer| answer.json());
    answer.as_ref().and_then(Value::as_array).cloned().unwrap_or_default()
}

#[test]
fn a_program_that_knows_nothing_is_registered_and_found() {
    let Some(consul) = consul() else { return };
    let ran = pricing(&consul, &[], &[]);
    wait_for("it is registered and passes", PATIENCE, || {
        entries(&consul, "?passing=true").len() == 1
    });
    let entry = &entries(&consul, "")[0]["Service"];
    assert!(
        entry["Tags"].as_array().is_some_and(|tags| tags.contains(&json!("python"))),
        "{entry}"
    );
    assert_eq!(entry["Meta"]["version"], "2.1", "of pyproject.toml: {entry}");
    let inbound = ran.address("inbound");
    assert_eq!(entry["Port"], inbound.port(), "the sidecar stands in front");

    let asked = Ask::new("GET", "/direct").send(inbound).expect("an answer");
    assert_eq!((asked.status, asked.text().as_str()), (200, "/direct"));
    let outbound = ran.address("outbound");
    wait_for("it is found by its name", PATIENCE, || {
        let by_name = Ask::new("GET", "http://pricing/by-name").send(outbound);
        by_name.is_ok_and(|answer| answer.status == 200 && answer.text() == "/by-name")
    });
    ran.process.signal("TERM");
    ran.ends_with(false);
    assert!(entries(&consul, "").is_empty(), "nothing is left of it");
}

#[test]
fn it_is_taken_back_in_order_and_nothing_in_flight_is_lost() {
    let Some(consul) = consul() else { return };
    let ran = pricing(&consul, &[], &[]);
    wait_for("it is registered", PATIENCE, || entries(&consul, "?passing=true").len() == 1);
    let inbound = ran.address("inbound");
    let slow = std::thread::spawn(move || Ask::new("GET", "/slow").send(inbound));
    ran.said("slow began");
    ran.process.signal("TERM");
    let answer = slow.join().expect("no panic").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "/slow"));
    let log = ran.ends_with(false);
    assert!(log.contains("told to end, registered: 0"), "deregistered before it was told: {log}");
}

#[test]
fn a_program_that_is_killed_is_deregistered_at_once() {
    let Some(consul) = consul() else { return };
    let ran = pricing(&consul, &[], &[]);
    wait_for("it is registered", PATIENCE, || entries(&consul, "?passing=true").len() == 1);
    let pid = child_of(ran.process.pid());
    let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let took =
        wait_for("it is gone from the registry", PATIENCE, || entries(&consul, "").is_empty());
    assert!(took < Duration::from_secs(2), "at once: {took:?}");
    ran.ends_with(false);
}

#[test]
fn a_program_that_registers_itself_is_an_error_that_names_both() {
    let Some(consul) = consul() else { return };
    let ran = pricing(&consul, &[], &[("ITSELF", "1")]);
    let log = ran.ends_with(false);
    assert!(log.contains("announced itself as `itself` at its own port"), "{log}");
    assert!(log.contains("this sidecar announced it as `pricing-"), "both are named: {log}");
    assert!(log.contains("--no-register"), "{log}");
    let left: Vec<Value> = entries(&consul, "");
    assert!(left.iter().all(|entry| entry["Service"]["ID"] == "itself"), "ours is gone: {left:?}");
}

#[test]
fn with_no_register_its_own_entry_is_left_alone() {
    let Some(consul) = consul() else { return };
    let ran = pricing(&consul, &["--no-register"], &[("ITSELF", "1")]);
    let inbound = ran.address("inbound");
    let _served = ran.said("is served at ");
    assert_eq!(Ask::new("GET", "/x").send(inbound).expect("an answer").status, 200);
    let there = entries(&consul, "");
    assert_eq!(there.len(), 1, "{there:?}");
    assert_eq!(there[0]["Service"]["ID"], "itself");
    ran.process.signal("TERM");
    let log = ran.ends_with(false);
    assert!(log.contains("told to end, registered: 1"), "nobody took its entry away: {log}");
}

/// The first process below another one.
fn child_of(parent: u32) -> u32 {
    let children = || {
        let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    until_some(PATIENCE, children).expect("it has a child")
}
