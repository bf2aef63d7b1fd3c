//! Three real Consul servers that elect a leader, each on a loopback address of its own.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::consul::{self, Ports, RealConsul, StartError, Version};
use crate::process::{Process, until_some};
use crate::raw::{Answer, Ask};

/// Servers: the fewest that survive the loss of one.
pub const SERVERS: usize = 3;
/// Most time for an election, and for a killed server to be one of them again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three servers with one catalogue. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    version: Version,
    program: PathBuf,
    dir: tempfile::TempDir,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    ip: Ipv4Addr,
    ports: Ports,
    process: Option<Process>,
}

impl Cluster {
    /// Starts three servers and waits until they have a leader; `None` after saying loudly why
    /// tests on the real Consul are skipped.
    ///
    /// # Errors
    /// [`StartError`], with the end of one server's log.
    ///
    /// # Panics
    /// As [`RealConsul::builder`].
    pub fn start(version: Version) -> Result<Option<Self>, StartError> {
        if RealConsul::builder(version).is_none() {
            return Ok(None);
        }
        let program = consul::program(version).expect("a builder has looked for it");
        let mut servers = Vec::new();
        for n in 1..=SERVERS {
            let last = u8::try_from(n).expect("three servers");
            let (ip, ports) = (Ipv4Addr::new(127, 0, 0, last), consul::free_ports()?);
            servers.push(Server { ip, ports, process: None });
        }
        let mut cluster = Self { version, program, dir: tempfile::tempdir()?, servers };
        for n in 0..SERVERS {
            cluster.start_server(n)?;
        }
        if cluster.wait_for_leader(PATIENCE).is_none() {
            return Err(StartError::NotReady { log: cluster.log(0) });
        }
        Ok(Some(cluster))
    }

    /// The address of a server's HTTP API; the same after a restart.
    #[must_use]
    pub fn address(&self, server: usize) -> SocketAddr {
        let Server { ip, ports, .. } = &self.servers[server];
        SocketAddr::new(IpAddr::V4(*ip), ports.http)
    }

    /// Which version the servers are of.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Sends one request to a server.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn ask(&self, server: usize, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let timeout = Duration::from_secs(2);
        Ask { body, timeout, ..Ask::new(method, path) }.send(self.address(server))
    }

    /// The server that the running ones take for their leader, if they agree on one that runs and
    /// a write succeeds.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let running = (0..SERVERS).filter(|&n| self.servers[n].process.is_some());
        let mut named = running.map(|n| {
            let answer = self.ask(n, "GET", "/v1/status/leader", b"").ok()?;
            let text = answer.text();
            self.servers.iter().position(|server| {
                text.contains(&format!("\"{}:{}\"", server.ip, server.ports.server))
            })
        });
        let first = named.next()??;
        if self.servers[first].process.is_none() || !named.all(|other| other == Some(first)) {
            return None;
        }
        let written = self.ask(first, "PUT", "/v1/kv/outrigger-ready", b"").ok()?;
        (written.status == 200).then_some(first)
    }

    /// Waits for [`Cluster::leader`].
    #[must_use]
    pub fn wait_for_leader(&self, limit: Duration) -> Option<usize> {
        until_some(limit, || self.leader())
    }

    /// SIGKILL and reap: what it had written to its disk stays there.
    pub fn kill(&mut self, server: usize) {
        drop(self.servers[server].process.take());
    }

    /// Starts a server, with what is on its disk.
    ///
    /// # Errors
    /// [`StartError`], when it cannot be run.
    pub fn start_server(&mut self, server: usize) -> Result<(), StartError> {
        let name = format!("server-{}", server + 1);
        let config = self.dir.path().join(format!("{name}.json"));
        fs::write(&config, self.configuration(server, &name).to_string())?;
        let mut command = Command::new(&self.program);
        command.args(["agent", "-config-file"]).arg(&config);
        command.env_remove("CONSUL_HTTP_ADDR").env_remove("CONSUL_HTTP_TOKEN");
        let process = Process::start(&name, self.dir.path(), &mut command)?;
        self.servers[server].process = Some(process);
        Ok(())
    }

    /// The last lines of a running server's log.
    #[must_use]
    pub fn log(&self, server: usize) -> String {
        let log = self.servers[server].process.as_ref().map(Process::log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn configuration(&self, server: usize, name: &str) -> serde_json::Value {
        let Server { ip, ports, .. } = &self.servers[server];
        let join = |server: &Server| format!("{}:{}", server.ip, server.ports.serf_lan);
        let mut config = json!({
            "node_name": name,
            "server": true,
            "bootstrap_expect": SERVERS,
            "data_dir": self.dir.path().join(name),
            "bind_addr": ip,
            "client_addr": ip,
            "retry_join": self.servers.iter().map(join).collect::<Vec<_>>(),
            "retry_interval": "1s",
            "log_level": "warn",
            "disable_update_check": true,
            "leave_on_terminate": false,
            // As production servers are told to be: elections within a second or two.
            "performance": { "raft_multiplier": 1 },
            "ports": {
                "http": ports.http, "server": ports.server, "serf_lan": ports.serf_lan,
                "serf_wan": ports.serf_wan, "dns": -1, "grpc": -1,
            },
        });
        if self.version == Version::New {
            config["ports"]["grpc_tls"] = json!(-1);
        }
        config
    }
}
