//! A real Consul agent for tests: started on free loopback ports, ended by its own process id.
//!
//! ```no_run
//! use outrigger_e2e::consul::{RealConsul, Version};
//!
//! let Some(builder) = RealConsul::builder(Version::New) else { return };
//! let mut consul = builder.start().expect("the agent starts");
//! println!("{} as pid {}", consul.url(), consul.pid());
//! consul.pause(); // accepts connections and never answers
//! consul.resume();
//! consul.restart().expect("starts again, empty, on the same port");
//! // Dropping it, also by a panic, kills the process and reaps it.
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a foreign process runs on real time: waiting for it polls its condition"
)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::raw::{Answer, Ask};

/// The management token of an agent started with [`Builder::acl`].
pub const MANAGEMENT_TOKEN: &str = "11111111-2222-3333-4444-555555555555";

const PATIENCE: Duration = Duration::from_secs(30);

/// Which of the two supported ends of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "tests match on both ends of the supported range")]
pub enum Version {
    /// The newest that builds here: 1.22.7.
    New,
    /// The oldest supported: 1.8.7.
    Old,
}

impl Version {
    /// The version's number.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::New => "1.22.7",
            Self::Old => "1.8.7",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            // Not OUTRIGGER_CONSUL: that is the registry's URL, for every process of the product.
            Self::New => "OUTRIGGER_CONSUL_BIN",
            Self::Old => "OUTRIGGER_CONSUL_OLD_BIN",
        }
    }
}

/// Whether tests on real programs are asked for: `OUTRIGGER_E2E=1`.
///
/// # Panics
/// With `CI=true` and without `OUTRIGGER_E2E=1`: CI that skips silently proves nothing.
#[must_use]
pub fn wanted() -> bool {
    let wanted = std::env::var("OUTRIGGER_E2E").is_ok_and(|v| v == "1");
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(
        wanted || !ci,
        "CI=true but OUTRIGGER_E2E is not 1: real-program tests may not be skipped"
    );
    wanted
}

/// Where the program is: the environment, the tool cache (`$HOME/.cache/outrigger-tools`), then `PATH`
/// (there only when `consul version` names the wanted one).
#[must_use]
pub fn program(version: Version) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(version.variable()) {
        return Some(path.into());
    }
    if let Some(home) = std::env::var_os("HOME") {
        let cached = Path::new(&home)
            .join(".cache/outrigger-tools")
            .join(format!("consul-{}", version.number()))
            .join("consul");
        if cached.is_file() {
            return Some(cached);
        }
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("consul")).find(|path| {
        path.is_file()
            && Command::new(path).arg("version").output().is_ok_and(|out| {
                String::from_utf8_lossy(&out.stdout).contains(&format!("v{}", version.number()))
            })
    })
}

/// Why an agent is not there.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A file could not be written or the program not be run.
    Io(io::Error),
    /// The process ended, or had no leader within 30 s; with the end of its log.
    NotReady {
        /// The last lines of the agent's log.
        log: String,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(_) => write!(f, "the agent could not be run"),
            Self::NotReady { log } => {
                write!(f, "the agent did not get ready; its log ends:\n{log}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotReady { .. } => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How to start an agent.
#[derive(Debug, Clone)]
pub struct Builder {
    version: Version,
    program: PathBuf,
    acl: bool,
    extra: Value,
}

impl Builder {
    /// Turns access control on with default deny and [`MANAGEMENT_TOKEN`].
    #[must_use]
    pub const fn acl(mut self) -> Self {
        self.acl = true;
        self
    }

    /// Adds top-level keys to the agent's configuration, replacing ours of the same name.
    #[must_use]
    pub fn config(mut self, extra: Value) -> Self {
        self.extra = extra;
        self
    }

    /// Starts the agent in dev mode (a server of one, in memory) and waits until it has a leader
    /// and its own node is in the catalogue.
    ///
    /// # Errors
    /// [`StartError`]; three sets of ports are tried before it gives up.
    pub fn start(self) -> Result<RealConsul, StartError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let dir = tempfile::tempdir()?;
            let ports = free_ports()?;
            let child = RealConsul::spawn(&self, dir.path(), ports)?;
            let mut consul = RealConsul { builder: self.clone(), dir, ports, child };
            match consul.wait_ready() {
                Ok(()) => return Ok(consul),
                // Somebody took a port between our look and the agent's bind.
                Err(StartError::NotReady { log }) if tries < 3 && log.contains("in use") => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A running agent. Dropping it kills the process.
#[derive(Debug)]
pub struct RealConsul {
    builder: Builder,
    dir: tempfile::TempDir,
    ports: Ports,
    child: Option<Child>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) server: u16,
    pub(crate) serf_lan: u16,
    pub(crate) serf_wan: u16,
}

impl RealConsul {
    /// A builder, or `None` after printing loudly why tests on the real Consul are skipped:
    /// they are not asked for, or the program is not installed.
    ///
    /// # Panics
    /// When they are asked for and the program is missing, or CI does not ask for them.
    #[must_use]
    pub fn builder(version: Version) -> Option<Builder> {
        if !wanted() {
            // Written past the test harness, which would keep what a passing test prints to itself.
            let line = format!(
                "SKIPPED on real Consul {}: set OUTRIGGER_E2E=1 to run it there\n",
                version.number()
            );
            let _unheard = io::stderr().write_all(line.as_bytes());
            return None;
        }
        let Some(program) = program(version) else {
            panic!(
                "OUTRIGGER_E2E=1 but there is no Consul {}: set {} or install it with .ci/install",
                version.number(),
                version.variable()
            );
        };
        Some(Builder { version, program, acl: false, extra: json!({}) })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address of its HTTP API; the same after a restart.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.ports.http)
    }

    /// Which version this is.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.builder.version
    }

    /// The token that may do everything, if access control is on.
    #[must_use]
    pub const fn token(&self) -> Option<&'static str> {
        if self.builder.acl { Some(MANAGEMENT_TOKEN) } else { None }
    }

    /// Its process id, or 0 while it is stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends one request with the management token, if there is one.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let token = self.token().map(|t| ("X-Consul-Token", t));
        Ask { headers: token.as_slice(), body, ..Ask::new(method, path) }.send(self.address())
    }

    /// SIGSTOP: the kernel still accepts connections, nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// SIGKILL and reap: every connection breaks, the memory is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It can only be gone already, which is what is wanted.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }

    /// SIGTERM and wait; SIGKILL when it has not ended within 10 s.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let start = Instant::now();
        while let Some(child) = self.child.as_mut() {
            match child.try_wait() {
                Ok(None) if start.elapsed() < Duration::from_secs(10) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(None) | Err(_) => self.kill(),
                Ok(Some(_)) => self.child = None,
            }
        }
    }

    /// Kills it, if it runs, and starts it again on the same ports; a dev agent comes back empty.
    ///
    /// # Errors
    /// [`StartError`]; the agent is stopped then.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.kill();
        self.start_again()
    }

    /// Starts a stopped agent again on the same ports.
    ///
    /// # Errors
    /// [`StartError`]; the agent is stopped then.
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.child = Self::spawn(&self.builder, self.dir.path(), self.ports)?;
        self.wait_ready().inspect_err(|_| self.kill())
    }

    fn spawn(builder: &Builder, dir: &Path, ports: Ports) -> Result<Option<Child>, StartError> {
        let config = dir.join("agent.json");
        fs::write(&config, configuration(builder, ports).to_string())?;
        let log = File::create(dir.join("agent.log"))?;
        let child = Command::new(&builder.program)
            .args(["agent", "-dev", "-config-file"])
            .arg(&config)
            .env_remove("CONSUL_HTTP_ADDR")
            .env_remove("CONSUL_HTTP_TOKEN")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Some(child))
    }

    fn wait_ready(&mut self) -> Result<(), StartError> {
        let start = Instant::now();
        loop {
            let gone =
                self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if !gone && self.is_ready() {
                return Ok(());
            }
            if gone || start.elapsed() > PATIENCE {
                return Err(StartError::NotReady { log: self.log_end() });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        let has = |path: &str, wanted: &str| {
            self.ask("GET", path, b"").is_ok_and(|a| a.status == 200 && a.text().contains(wanted))
        };
        has("/v1/status/leader", ":")
            && has("/v1/health/service/consul", "serfHealth")
            && has("/v1/catalog/nodes", "lan_ipv4")
            && self.settled()
    }

    /// Whether a write by a real client works: an agent that has just elected itself still answers
    /// some writes with "rpc error" for a moment.
    fn settled(&self) -> bool {
        self.ask("PUT", "/v1/kv/outrigger-ready", b"").is_ok_and(|a| a.status == 200)
            && self.ask("DELETE", "/v1/kv/outrigger-ready", b"").is_ok_and(|a| a.status == 200)
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            // Sending a signal needs libc; its command does it without unsafe code of ours.
            let sent =
                Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
            assert!(sent.is_ok_and(|s| s.success()), "SIG{name} reached the agent");
        }
    }
}

impl Drop for RealConsul {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configuration(builder: &Builder, ports: Ports) -> Value {
    let mut config = json!({
        "node_name": "node-1",
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "log_level": "warn",
        "disable_update_check": true,
        "leave_on_terminate": false,
        "ports": {
            "http": ports.http, "server": ports.server, "serf_lan": ports.serf_lan,
            "serf_wan": ports.serf_wan, "dns": -1, "grpc": -1,
        },
    });
    if builder.version == Version::New {
        config["ports"]["grpc_tls"] = json!(-1);
    }
    if builder.acl {
        let key = match builder.version {
            Version::New => "initial_management",
            Version::Old => "master",
        };
        config["acl"] = json!({
            "enabled": true,
            "default_policy": "deny",
            "tokens": { key: MANAGEMENT_TOKEN, "agent": MANAGEMENT_TOKEN },
        });
    }
    if let Some(extra) = builder.extra.as_object() {
        for (key, value) in extra {
            config[key] = value.clone();
        }
    }
    config
}

/// Ports that are free for TCP and UDP now; all are held until the last is found, so that they differ.
pub(crate) fn free_ports() -> io::Result<Ports> {
    let mut held = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let number = tcp.local_addr()?.port();
            if let Ok(udp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) {
                held.push((tcp, udp));
                *port = number;
                break;
            }
        }
    }
    let [http, server, serf_lan, serf_wan] = ports;
    Ok(Ports { http, server, serf_lan, serf_wan })
}
