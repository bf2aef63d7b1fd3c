use std::sync::Mutex;

use super::*;
use crate::settings::{Given, Mode};

/// Runs a script of the shell and tells what was said meanwhile.
async fn run(script: &str, flags: &[(&str, &str)]) -> (Result<Ended, RunError>, Vec<String>) {
    let mut given = Given::new(Mode::Run);
    let own = [
        ("service", "tried"),
        ("consul", "none"),
        ("inbound", "127.0.0.1:0"),
        ("outbound", "127.0.0.1:0"),
        ("admin", "127.0.0.1:0"),
        ("workers", "1"),
    ];
    let flags = own.iter().chain(flags);
    given.flags = flags.map(|(f, v)| ((*f).to_owned(), vec![(*v).to_owned()])).collect();
    let settings = Settings::resolve(&given).unwrap_or_else(|error| panic!("{error}"));
    let command = ["sh", "-c", script].map(OsString::from).to_vec();
    let mut run = Run::new(settings, command);
    let said = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&said);
    run.say = Arc::new(move |line| to.lock().expect("no panic").push(line.to_owned()));
    // Other tests of this process have children too.
    run.adopts = false;
    run.start_limit = Duration::from_millis(100);
    let ended = run.to_the_end().await;
    let said = said.lock().expect("no panic").clone();
    (ended, said)
}

fn is_said(said: &[String], what: &str) -> bool {
    said.iter().any(|line| line.contains(what))
}

/// Listens on a port that `$1` names, answers `$2` to everything, and ends after `$3` requests.
const LISTEN: &str = "import http.server,os,sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)
for request in range(int(sys.argv[3])):
    server.handle_request()
";

fn has_python() -> bool {
    let there = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !there {
        use std::io::Write as _;
        let _unheard = io::stderr().write_all(b"SKIPPED: there is no python3\n");
    }
    there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_never_listens_is_waited_for_and_not_announced() {
    let (ended, said) = run("sleep 0.5; exit 3", &[]).await;
    assert_eq!(ended.expect("it ran"), Ended::Code(3));
    assert!(is_said(&said, "does not listen on port"), "{said:?}");
    assert!(!is_said(&said, "is served at"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_listens_elsewhere_is_told_how_to_say_so() {
    if !has_python() {
        return;
    }
    let port = child::free_port().expect("a port");
    let script = format!("timeout 3 python3 -c \"$CODE\" {port} 200 1; exit 4");
    let script = format!("CODE=$(cat <<'END'\n{LISTEN}\nEND\n); {script}");
    let (ended, said) = run(&script, &[]).await;
    assert_eq!(ended.expect("it ran"), Ended::Code(4));
    let advice = format!("the program listens on 127.0.0.1:{port}, and not on 127.0.0.1:");
    assert!(is_said(&said, &advice), "{said:?}");
    assert!(is_said(&said, &format!("--port {port}")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_well_is_waited_for() {
    if !has_python() {
        return;
    }
    let script = |status: u16| {
        format!("CODE=$(cat <<'END'\n{LISTEN}\nEND\n); python3 -c \"$CODE\" $PORT {status} 10")
    };
    let (ended, said) = run(&script(503), &[("health", "/well")]).await;
    assert_eq!(ended.expect("it ran"), Ended::Code(0));
    assert!(is_said(&said, "/well of the program answers 503"), "{said:?}");
    assert!(!is_said(&said, "is served at"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_listens_and_is_well_is_served() {
    if !has_python() {
        return;
    }
    // The gate connects once and asks once; then it ends by itself.
    let script =
        format!("CODE=$(cat <<'END'\n{LISTEN}\nEND\n); python3 -c \"$CODE\" $PORT 204 2; sleep 1");
    let (ended, said) = run(&script, &[("health", "/well")]).await;
    assert_eq!(ended.expect("it ran"), Ended::Code(0));
    assert!(is_said(&said, "is served at 127.0.0.1:"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_has_is_told_before_the_start() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("an address").port().to_string();
    let (ended, _) = run("exit 0", &[("port", &port)]).await;
    assert!(matches!(ended, Err(RunError::Taken { .. })), "{ended:?}");
}
