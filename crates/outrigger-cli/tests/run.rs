//! `outrigger run` with real programs: each way to end has its documented outcome.
#![expect(
    clippy::disallowed_methods,
    reason = "processes run on real time: waiting for one polls its condition"
)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A command that runs, with what it has written so far.
struct Started {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    clean(&mut command);
    command.args(["run", "--service", "tried", "--consul", "none", "--inbound", "127.0.0.1:0"]);
    command.args(["--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(arguments);
    command
}

/// Without anything that somebody's own environment says.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["OUTRIGGER_", "CONSUL_", "OTEL_", "PORT"].iter().any(|own| text.starts_with(own)) {
            command.env_remove(&name);
        }
    }
}

fn start(mut command: Command) -> Started {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (out, err) = (Arc::default(), Arc::default());
    let stdout: ChildStdout = child.stdout.take().expect("a pipe");
    let stderr = child.stderr.take().expect("a pipe");
    let readers = vec![collect(stdout, &out), collect(stderr, &err)];
    Started { child, out, err, readers }
}

fn collect(
    mut from: impl Read + Send + 'static,
    to: &Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            to.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    })
}

fn run(arguments: &[&str]) -> Started {
    start(command(arguments))
}

fn shell(script: &str) -> Started {
    run(&["--", "sh", "-c", script])
}

impl Started {
    fn out(&self) -> String {
        self.out.lock().expect("no panic").clone()
    }

    fn err(&self) -> String {
        self.err.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn until(&mut self, what: &str) -> &mut Self {
        let start = Instant::now();
        while !self.out().contains(what) && !self.err().contains(what) {
            let ended = self.child.try_wait().expect("waits");
            assert!(
                start.elapsed() < PATIENCE && ended.is_none(),
                "{what:?} was not said ({ended:?}): {} {}",
                self.out(),
                self.err()
            );
            thread::sleep(Duration::from_millis(10));
        }
        self
    }

    fn signal(&mut self, name: &str) -> &mut Self {
        kill(name, &self.child.id().to_string());
        self
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) -> (String, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {} {}", self.out(), self.err());
            thread::sleep(Duration::from_millis(10));
        };
        for reader in self.readers.drain(..) {
            let _ended = reader.join();
        }
        let said = (self.out(), self.err());
        assert_eq!(status.code(), Some(code), "{said:?}");
        said
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Told to end, it ends its program; it can only be gone already.
        if matches!(self.child.try_wait(), Ok(None)) {
            kill("INT", &self.child.id().to_string());
            kill("INT", &self.child.id().to_string());
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(3)
                && matches!(self.child.try_wait(), Ok(None))
            {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn kill(signal: &str, pid: &str) {
    let _sent = Command::new("kill").args(["-s", signal, pid]).stderr(Stdio::null()).status();
}

fn is_there(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Says that it is ready, and waits, whatever it is told in `traps`.
fn patient(traps: &str) -> String {
    format!("{traps}; echo ready; while :; do sleep 0.02; done")
}

fn has_python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        let _unheard = std::io::stderr().write_all(b"SKIPPED: there is no python3\n");
    }
    there
}

#[test]
fn it_ends_with_the_program_s_own_code() {
    for code in [0, 1, 7, 255] {
        shell(&format!("exit {code}")).ends_with(code);
    }
}

#[test]
fn a_program_that_is_killed_ends_it_with_128_and_the_signal() {
    shell("kill -KILL $$").ends_with(137);
    shell("kill -USR1 $$").ends_with(138);
}

#[test]
fn the_three_streams_are_the_program_s_own() {
    let mut started = run(&["--", "cat"]);
    let mut stdin = started.child.stdin.take().expect("a pipe");
    stdin.write_all(b"\x00one\ntwo").expect("writes");
    drop(stdin);
    let (out, _) = started.ends_with(0);
    assert_eq!(out, "\0one\ntwo", "not a byte more or less");
    let (out, err) = shell("echo problem >&2").ends_with(0);
    assert_eq!(out, "");
    assert!(err.lines().any(|line| line == "problem"), "{err}");
    assert!(err.lines().any(|line| line.starts_with("inbound 127.0.0.1:")), "{err}");
}

#[test]
fn the_program_is_told_where_everything_is() {
    let (out, err) = run(&[
        "--upstream",
        "inventory=127.0.0.1:0",
        "--version",
        "1.2",
        "--",
        "sh",
        "-c",
        "env; echo \"[$PORT]\"",
    ])
    .ends_with(0);
    let of = |name: &str| {
        let found = out.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("{name} in {out}")).to_owned()
    };
    let at = |name: &str| {
        let found = err.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{name} in {err}")).trim().to_owned()
    };
    assert_eq!(of("HTTP_PROXY"), format!("http://{}", at("outbound ")));
    assert_eq!(of("http_proxy"), of("HTTP_PROXY"));
    assert_eq!(of("OUTRIGGER_OUTBOUND"), at("outbound "));
    assert_eq!(of("OUTRIGGER_ADMIN"), at("admin "));
    assert_eq!(of("INVENTORY_URL"), format!("http://{}", at("upstream inventory ")));
    assert_eq!((of("OUTRIGGER_SERVICE"), of("OUTRIGGER_BESIDE")), ("tried".into(), "1".into()));
    assert_eq!(of("OTEL_RESOURCE_ATTRIBUTES"), "service.version=1.2");
    assert!(of("JAVA_TOOL_OPTIONS").contains("-Dhttp.proxyHost=127.0.0.1"), "{out}");
    assert!(out.contains(&format!("[{}]", of("PORT"))));
}

#[test]
fn told_to_end_it_tells_the_program_and_ends_as_that_does() {
    let mut started = shell(&patient("trap 'echo told; exit 5' TERM"));
    started.until("ready").signal("TERM");
    let (out, _) = started.ends_with(5);
    assert!(out.contains("told"), "{out}");

    let mut deaf = run(&["--", "sleep", "300"]);
    deaf.until("admin").signal("TERM");
    deaf.ends_with(143);
}

#[test]
fn ctrl_c_once_is_passed_on_and_twice_is_at_once() {
    let mut once = shell(&patient("trap 'echo interrupted; exit 4' INT"));
    once.until("ready").signal("INT");
    let (out, _) = once.ends_with(4);
    assert_eq!(out.matches("interrupted").count(), 1, "handled once: {out}");

    let mut twice = run(&["--drain", "50m", "--", "sh", "-c", &patient("trap 'echo no' INT TERM")]);
    twice.until("ready").signal("INT").until("no").signal("INT");
    twice.ends_with(137);
}

#[test]
fn a_program_that_ignores_the_end_is_killed_after_the_drain() {
    let script = patient("trap '' TERM");
    let mut deaf = run(&["--drain", "200ms", "--", "sh", "-c", &script]);
    deaf.until("ready").signal("TERM");
    let (_, err) = deaf.ends_with(137);
    assert!(err.contains("did not end within 0.2s of being told: killed"), "{err}");
}

#[test]
fn what_is_not_an_end_is_passed_on() {
    let traps = "trap 'echo first' USR1; trap 'echo second' USR2; trap 'echo threads' QUIT";
    let mut started = shell(&patient(traps));
    started.until("ready").signal("USR1").until("first");
    started.signal("USR2").until("second").signal("QUIT").until("threads");
    started.signal("TERM");
    started.ends_with(143);
}

#[test]
fn whatever_a_program_leaves_behind_is_ended_with_it() {
    let (out, err) = shell("sleep 300 & echo $!; exit 3").ends_with(3);
    assert!(!is_there(out.trim()), "of its own group");
    assert!(err.contains("left processes running"), "{err}");
    if !has_python() {
        return;
    }
    // Twice forked and in a session of its own: a daemon.
    let script = "import os,time
if os.fork():
    os._exit(9)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(300)";
    let mut started = run(&["--", "sh", "-c", "python3 -c \"$0\"; sleep 0.5; exit 9", script]);
    started.until("\n");
    let (out, _) = started.ends_with(9);
    assert!(out.trim().parse::<u32>().is_ok(), "{out:?}");
    assert!(!is_there(out.trim()), "of a session of its own");
}

#[test]
fn bad_input_is_told_before_anything_starts() {
    let (_, err) = run(&["--", "/not/there"]).ends_with(2);
    assert!(err.contains("the command `/not/there` cannot be started"), "{err}");
    let (_, err) = run(&[]).ends_with(2);
    assert!(err.contains("no command is given"), "{err}");
    let (_, err) = run(&["--drain", "30", "--", "true"]).ends_with(2);
    assert!(
        err.contains("--drain: `drain` is `30`") && err.contains("did you mean `30s`?"),
        "{err}"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("an address").port().to_string();
    let (_, err) = run(&["--port", &port, "--", "true"]).ends_with(3);
    assert!(err.contains(&format!("port {port} of 127.0.0.1 is taken")), "{err}");
}

#[test]
fn a_nested_command_takes_nothing_of_its_parent_for_its_own() {
    let own = env!("CARGO_BIN_EXE_outrigger");
    let (out, err) = run(&[
        "--version",
        "outer",
        "--",
        own,
        "run",
        "--service",
        "inner",
        "--consul",
        "none",
        "--",
        "sh",
        "-c",
        "env | grep -E '^(OUTRIGGER_(SERVICE|OUTBOUND|VERSION)|OTEL_SERVICE_NAME)='",
    ])
    .ends_with(0);
    assert!(out.contains("OUTRIGGER_SERVICE=inner"), "{out} {err}");
    assert!(out.contains("OTEL_SERVICE_NAME=inner"), "{out} {err}");
    assert!(!out.contains("OUTRIGGER_VERSION"), "{out}");
    let outbound: Vec<&str> = err.lines().filter(|line| line.starts_with("outbound ")).collect();
    assert_eq!(outbound.len(), 2, "{err}");
    assert_ne!(outbound[0], outbound[1], "the parent's port is not asked for: {err}");
}

#[test]
fn check_tells_every_setting_with_its_origin_and_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("package.json"), "{\"name\":\"storefront\",\"version\":\"2\"}")
        .expect("writes");
    fs::write(folder.path().join("s.toml"), "drain = \"5s\"\n").expect("writes");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        clean(&mut command);
        command.arg("run").args(arguments).current_dir(folder.path());
        command.env("OUTRIGGER_ZONE", "a").env("OUTRIGGER_CONFIG", "s.toml");
        start(command)
    };
    let (out, _) = check(&["--check", "--port", "80", "--", "node", "server.js"]).ends_with(0);
    for line in [
        "service = storefront (guessed: package.json)",
        "version = 2 (guessed: package.json)",
        "language = node (guessed: the command, node)",
        "port = 80 (--port)",
        "zone = a (OUTRIGGER_ZONE)",
        "drain = 5s (s.toml:1:9)",
        "inbound = 127.0.0.1:0 (default: the registry is on loopback)",
    ] {
        assert!(out.lines().any(|told| told == line), "{line:?} in {out}");
    }
    let (out, _) = check(&["--check", "--json", "--", "node", "server.js"]).ends_with(0);
    let told: serde_json::Value = serde_json::from_str(&out).expect("one document");
    assert_eq!(told["settings"]["drain"]["place"], "s.toml:1:9");
    assert_eq!(told["settings"]["outbound"]["origin"], "default");
    fs::write(folder.path().join("s.toml"), "drian = \"5s\"\n").expect("writes");
    let (out, err) = check(&["--check", "--", "node"]).ends_with(2);
    assert_eq!(out, "");
    assert!(err.contains("s.toml:1:1: there is no key `drian`"), "{err}");
    assert!(err.contains("did you mean `drain`?"), "{err}");
}

/// Runs a command on a terminal of its own: what is typed, when, and what then is to be read.
const ON_A_TERMINAL: &str = "import os,pty,select,signal,sys,time
signal.signal(signal.SIGHUP, signal.SIG_DFL)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[3], sys.argv[3:])
seen, end = b'', time.time() + 30
while sys.argv[1].encode() not in seen:
    assert time.time() < end, seen
    if select.select([terminal], [], [], 0.1)[0]:
        seen += os.read(terminal, 4096)
if sys.argv[2] == 'close':
    os.close(terminal)
else:
    os.write(terminal, sys.argv[2].encode().decode('unicode_escape').encode())
    try:
        while True:
            seen += os.read(terminal, 4096)
    except OSError:
        pass
status = os.waitpid(pid, 0)[1]
print(seen.decode(errors='replace'))
print('code', os.waitstatus_to_exitcode(status))";

fn on_a_terminal(wait_for: &str, typed: &str, program: &[&str]) -> Started {
    let inner = command(&["--"]);
    let mut outer = Command::new("python3");
    outer.args(["-c", ON_A_TERMINAL, wait_for, typed]).arg(inner.get_program());
    outer.args(inner.get_args()).args(program);
    clean(&mut outer);
    start(outer)
}

#[test]
fn a_lost_terminal_ends_it_in_order() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("told");
    let script = patient(&format!("trap 'echo hung up > {}; exit 6' HUP", file.display()));
    let (out, _) = on_a_terminal("ready", "close", &["sh", "-c", &script]).ends_with(0);
    assert!(out.contains("code 6"), "{out}");
    assert_eq!(fs::read_to_string(file).expect("it was told"), "hung up\n");
}

#[test]
fn ctrl_c_on_a_terminal_is_handled_once() {
    if !has_python() {
        return;
    }
    let script = patient("trap 'echo interrupted; exit 4' INT");
    let (out, _) = on_a_terminal("ready", "\\x03", &["sh", "-c", &script]).ends_with(0);
    assert!(out.contains("code 4"), "{out}");
    assert_eq!(out.matches("interrupted").count(), 1, "{out}");
}

#[test]
fn a_program_that_reads_the_terminal_gets_it() {
    if !has_python() {
        return;
    }
    let script = "echo ready; read line; echo \"got <$line>\"; exit 3";
    let (out, _) = on_a_terminal("ready", "hello\\n", &["sh", "-c", script]).ends_with(0);
    assert!(out.contains("got <hello>") && out.contains("code 3"), "{out}");
}

#[test]
fn without_a_terminal_a_hang_up_is_the_program_s_own_business() {
    if !has_python() {
        return;
    }
    let inner = command(&["--", "sh", "-c", &patient("trap 'echo read anew' HUP")]);
    let mut outer = Command::new("python3");
    let script = "import os,signal,sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.setsid(); \
                  os.execv(sys.argv[1], sys.argv[1:])";
    outer.args(["-c", script]);
    outer.arg(inner.get_program()).args(inner.get_args());
    clean(&mut outer);
    let mut started = start(outer);
    started.until("ready").signal("HUP").until("read anew").signal("TERM");
    started.ends_with(143);
}
