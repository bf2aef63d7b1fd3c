//! Scripted programs behind sidecars, which are processes.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_e2e::consul::RealConsul;
use outrigger_e2e::fleet;
use outrigger_e2e::process::{Process, outrigger, until_some, wait_for};
use outrigger_e2e::raw::Answer;
use outrigger_testkit::{Scripted, Step};
use tokio::runtime::Runtime;

/// What all sidecars have in common.
pub(crate) struct Stage {
    consul: String,
    dir: tempfile::TempDir,
    policy: PathBuf,
    runtime: Runtime,
    started: Cell<usize>,
    is_unwell: Arc<AtomicBool>,
}

/// A sidecar, and the program behind it if there is one.
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    _program: Option<Scripted>,
}

impl Stage {
    pub(crate) fn set(consul: &str, policy: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("inventory.yaml");
        std::fs::write(&file, policy).expect("written");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            consul: consul.to_owned(),
            dir,
            policy: file,
            runtime,
            started: Cell::new(0),
            is_unwell: Arc::default(),
        }
    }

    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A program that answers each checkout, behind its sidecar.
    pub(crate) fn inventory(&self) -> Sidecar {
        let is_unwell = Arc::clone(&self.is_unwell);
        let program = Scripted::start_with(move |seen| {
            if seen.path == "/health" {
                return Step::answer(if is_unwell.load(Ordering::SeqCst) { 500 } else { 200 });
            }
            let id = seen.path.rsplit('/').next().unwrap_or_default();
            let body = format!(r#"{{"order":{{"stock":{{"id":{id}}},"price":1}}}}"#);
            let is_number = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.is_empty();
            Step::answer(200).with_body(if is_number { body } else { "{}".to_owned() })
        });
        let program = self.runtime.block_on(program).expect("a port");
        let port = program.address().port().to_string();
        let flags = ["--service", "inventory", "--port", &port, "--health", "/health"];
        let process = self.start("inventory", &flags);
        Sidecar { process, _program: Some(program) }
    }

    /// A sidecar for calls only.
    pub(crate) fn caller(&self, name: &str) -> Sidecar {
        let policy = self.policy.to_string_lossy().into_owned();
        let flags = ["--service", name, "--policy", &policy, "--upstream", "inventory=127.0.0.1:0"];
        Sidecar { process: self.start(name, &flags), _program: None }
    }

    fn start(&self, name: &str, flags: &[&str]) -> Process {
        self.started.set(self.started.get() + 1);
        let name = format!("{name}-{}", self.started.get());
        let mut command = Command::new(outrigger());
        command.arg("sidecar").args(flags).args(["--consul", &self.consul]);
        command.args(["--inbound", "127.0.0.1:0", "--outbound", "127.0.0.1:0"]);
        command.args(["--admin", "127.0.0.1:0", "--drain", "5s"]);
        // Nothing of this test's own environment is meant for it.
        command.env_remove("OUTRIGGER_POLICY").current_dir(self.dir.path());
        Process::start(&name, self.dir.path(), &mut command).expect("it starts")
    }

    /// Whether the programs say that they are unwell, though they serve.
    pub(crate) fn be_unwell(&self, is: bool) {
        self.is_unwell.store(is, Ordering::SeqCst);
    }

    pub(crate) fn passing(&self, consul: &RealConsul) -> usize {
        fleet::passing(consul, "inventory").len()
    }

    pub(crate) fn wait_for_passing(&self, consul: &RealConsul, count: usize) {
        let what = format!("{count} instances are passing");
        wait_for(&what, Duration::from_secs(30), || self.passing(consul) == count);
    }
}

impl Sidecar {
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    pub(crate) fn outbound(&self) -> SocketAddr {
        self.listens("outbound ")
    }

    pub(crate) fn upstream(&self, service: &str) -> SocketAddr {
        self.listens(&format!("upstream {service} "))
    }

    /// Where it says that it listens.
    fn listens(&self, what: &str) -> SocketAddr {
        let look = || {
            let log = self.process.log();
            log.lines().find_map(|line| line.strip_prefix(what)?.trim().parse().ok())
        };
        until_some(Duration::from_secs(20), look)
            .unwrap_or_else(|| panic!("no `{what}` in {}", self.process.log()))
    }
}

pub(crate) fn reason(answer: &Answer) -> Option<&str> {
    answer.header("x-outrigger-reason")
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
