//! One instance: a process, most of the time with its sidecar around it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::kit::Kit;

/// A service of the fleet.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    folder: &'static str,
    registers_itself: bool,
}

/// The services, callees first.
pub(super) const SERVICES: [Service; 6] = [
    service("inventory", "go", "go/inventory", true),
    service("pricing", "python", "python/pricing", false),
    service("billing", "java", "java/billing", true),
    service("echo", "shell", "shell/echo", false),
    service("orders", "rust", "rust/orders", true),
    service("storefront", "node", "node/storefront", false),
];

const fn service(
    name: &'static str,
    language: &'static str,
    folder: &'static str,
    registers_itself: bool,
) -> Service {
    Service { name, language, folder, registers_itself }
}

/// A process that ends with this handle, and everything below it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) service: &'static Service,
    pub(super) name: String,
    /// Where callers connect.
    pub(super) address: SocketAddr,
    child: Child,
}

impl Member {
    pub(super) fn start(
        service: &'static Service,
        name: String,
        kit: &Kit,
        consul: SocketAddr,
    ) -> Result<Self> {
        let (own, inbound) = (free_port()?, free_port()?);
        let program = kit.program(service.language);
        let is_library = service.language == "rust";
        let mut command = Command::new(match (is_library, program.first()) {
            (true, Some(program)) => program.into(),
            _ => std::env::current_exe()?.into_os_string(),
        });
        for (variable, _) in std::env::vars_os() {
            let foreign = |prefix: &str| variable.to_string_lossy().starts_with(prefix);
            if foreign("OUTRIGGER_") || foreign("CONSUL_") {
                command.env_remove(&variable);
            }
        }
        if !is_library {
            command
                .args(["run", "--service", service.name, "--language", service.language])
                .args(["--port", &own.to_string(), "--inbound", &format!("127.0.0.1:{inbound}")])
                .args(["--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
            if service.registers_itself {
                command.arg("--no-register");
            }
            if service.language == "node" {
                // Node 20 knows no proxy.
                command.args(["--upstream", "orders=127.0.0.1:0"]);
            }
            command.arg("--").args(program);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = kit.path.iter().cloned().chain(std::env::split_paths(&path));
        let child = command
            .current_dir(kit.examples.join(service.folder))
            .env("PATH", std::env::join_paths(path)?)
            .env("PORT", if is_library { inbound } else { own }.to_string())
            .env("ADVERTISE_PORT", inbound.to_string())
            .env("INSTANCE_ID", &name)
            .env("CONSUL_HTTP_ADDR", format!("http://{consul}"))
            .env("CONSUL_HOST", consul.ip().to_string())
            .env("CONSUL_PORT", consul.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, inbound));
        Ok(Self { service, name, address, child })
    }

    /// An error when the process has ended.
    pub(super) fn ensure_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended by itself: {status}", self.name),
        }
    }

    /// Tells it to end, and waits until it has; not for ever.
    pub(super) async fn end(mut self) {
        signal("TERM", &[self.child.id()]);
        for _ in 0..600 {
            if self.ensure_runs().is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.ensure_runs().is_err() {
            return;
        }
        // A sidecar that is killed cannot end its child.
        signal("KILL", &family(self.child.id()));
        let _reaped = self.child.wait();
    }
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(pid) = family.get(at) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    family
}

/// Sends a signal by its short name; its command does that without unsafe code of ours.
fn signal(name: &str, pids: &[u32]) {
    // One that has ended needs no signal.
    let _sent = Command::new("kill")
        .arg(format!("-{name}"))
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
}

/// A port for a program that listens only in a while: below the range that systems give to outgoing
/// connections, of which one might take it meanwhile.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    for _ in 0..10_000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port from 20000 to 29999 is free")
}
