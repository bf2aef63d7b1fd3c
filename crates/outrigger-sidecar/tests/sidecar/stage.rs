//! Sidecars on loopback, a registry in memory, and a client that writes its requests by hand.
#![expect(unreachable_pub, reason = "a module of a test binary")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_sidecar::{Application, Config, Listen, Place, Registry, Running, Sidecar, Unknown};
use outrigger_testkit::InMemoryRegistry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A registry in memory, and the sidecars that meet there.
pub struct Stage {
    pub registry: InMemoryRegistry,
}

/// A sidecar that serves.
pub struct Beside {
    pub running: Running,
}

impl Beside {
    pub fn outbound(&self) -> SocketAddr {
        match self.running.addresses().outbound {
            Place::Tcp(address) => address,
            _ => panic!("outbound is a unix socket"),
        }
    }

    pub fn inbound(&self) -> SocketAddr {
        self.running.addresses().inbound.expect("it stands in front of an application")
    }
}

impl Stage {
    pub fn new() -> Self {
        Self { registry: InMemoryRegistry::new() }
    }

    /// What every sidecar of the stage is told.
    pub fn config(&self, service: &str) -> Config {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::default();
        config.service = Some(service.parse().expect("a name"));
        config.outbound = Listen::at(Place::Tcp(free));
        config.admin = Listen::at(free);
        config.inbound = Some(Listen::at(free));
        config.notice = Duration::from_millis(20);
        config.workers = std::num::NonZeroUsize::new(2);
        let registry = Arc::new(self.registry.clone());
        config.registry = Some(Registry {
            resolver: registry.clone(),
            registrar: Some(registry.clone()),
            keys: Some(registry),
        });
        config.settings = Some(outrigger::Settings::default());
        config
    }

    pub async fn start(&self, config: Config) -> Beside {
        let bound = Sidecar::bind(config).await.expect("free ports and a valid configuration");
        let running = bound.start().await.expect("threads");
        running.open().await.expect("an instance that can be announced");
        Beside { running }
    }

    /// A sidecar in front of an application.
    pub async fn beside(&self, service: &str, application: SocketAddr) -> Beside {
        let mut config = self.config(service);
        config.application = Some(Application::Tcp(application));
        let beside = self.start(config).await;
        beside.running.fleet().registered().await;
        beside
    }

    /// A sidecar for calls only.
    pub async fn outbound_only(&self, service: &str) -> Beside {
        self.start(self.config(service)).await
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Reads an answer with a length, or without a body.
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        });
        let status = status.parse().expect("a number");
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }
}

/// Asks for `GET target` as a proxy is asked: the host of the target is the `Host` too.
pub async fn get(at: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    let own = at.to_string();
    let host = target.strip_prefix("http://").unwrap_or(&own);
    let host = host.split('/').next().unwrap_or(host);
    let mut head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Answer::read(&raw(at, head.as_bytes()).await)
}

/// Writes bytes and reads to the end.
pub async fn raw(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(at).await.expect("it listens");
    tcp.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tcp.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    read.expect("it answers in time").expect("it closes in order");
    answer
}

pub fn passing(mut config: Config) -> Config {
    config.unknown = Unknown::Pass;
    config
}
