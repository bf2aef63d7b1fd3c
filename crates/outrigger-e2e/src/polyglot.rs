//! The services of `examples/` in five languages and a shell as processes, most of them with a
//! sidecar, on a real Consul.

mod kit;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::consul::RealConsul;
use crate::fleet::passing;
use crate::process::{Process, forget, lasting_port, orders, outrigger, wait_for};
use crate::raw::{Answer, Ask};
use kit::Kit;

pub use kit::installed;

/// How an instance comes to stand in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "tests match on every way")]
pub enum Way {
    /// The library in its process does it.
    Library,
    /// The sidecar does it.
    Sidecar,
    /// It does it itself, with the port of the sidecar in front of it.
    Itself,
}

/// A service of the fleet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// Its name, in the registry and in the contract.
    pub name: &'static str,
    /// The language it is written in, as tags say it.
    pub language: &'static str,
    /// How it is registered.
    pub way: Way,
    /// A route of its own that answers 200.
    pub route: &'static str,
    /// Below `examples`.
    pub folder: &'static str,
}

/// The services, callees first.
pub const SERVICES: [Service; 6] = [
    service("inventory", "go", Way::Itself, "/stock/7", "go/inventory"),
    service("pricing", "python", Way::Sidecar, "/price/7", "python/pricing"),
    service("billing", "java", Way::Itself, "/invoices/7", "java/billing"),
    service("echo", "shell", Way::Sidecar, "/echo/hello", "shell/echo"),
    service("orders", "rust", Way::Library, "/orders/7", "rust/orders"),
    service("storefront", "node", Way::Sidecar, "/checkout/7", "node/storefront"),
];

const fn service(
    name: &'static str,
    language: &'static str,
    way: Way,
    route: &'static str,
    folder: &'static str,
) -> Service {
    Service { name, language, way, route, folder }
}

/// One instance: the service, and the sidecar around it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Instance {
    /// Which service.
    pub service: &'static Service,
    /// What its answers say who it is.
    pub id: String,
    /// Where callers connect.
    pub address: SocketAddr,
    /// The sidecar, whose child the service is; the service where there is none.
    pub process: Process,
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A sidecar that is killed cannot end its child.
        if self.process.is_running() {
            self.process.signal_family("KILL");
        }
    }
}

/// The fleet, with a sidecar for visitors that serves outbound traffic only.
#[derive(Debug)]
pub struct Polyglot {
    kit: Kit,
    consul: SocketAddr,
    environment: Vec<(String, String)>,
    upstreams: Vec<String>,
    started: u32,
    visitors: SocketAddr,
    _visitors: Process,
    /// All that run.
    pub instances: Vec<Instance>,
    dir: tempfile::TempDir,
}

impl Polyglot {
    /// Starts the visitors' sidecar; no service yet. `upstreams` are names that services without
    /// proxy support may ask for beside those of the fleet.
    ///
    /// # Errors
    /// Those of starting processes.
    ///
    /// # Panics
    /// When the sidecar does not listen within 20 s.
    pub fn new(
        consul: &RealConsul,
        upstreams: &[&str],
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = lasting_port()?;
        let visitors = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(outrigger());
        clean(&mut command);
        command
            .args(["sidecar", "--consul", &consul.url(), "--outbound", &visitors.to_string()])
            .args(["--admin", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .env("OTEL_SERVICE_NAME", "visitors");
        let process = Process::start("visitors", dir.path(), &mut command)?;
        wait_for(&format!("the visitors' sidecar listens\n{}", process.log()), SOON, || {
            std::net::TcpStream::connect(visitors).is_ok()
        });
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let names = SERVICES.iter().map(|service| service.name).chain(upstreams.iter().copied());
        Ok(Self {
            kit: Kit::find(),
            consul: consul.address(),
            environment: environment.iter().map(owned).collect(),
            upstreams: names.map(|name| format!("{name}=127.0.0.1:0")).collect(),
            started: 0,
            visitors,
            _visitors: process,
            instances: Vec::new(),
            dir,
        })
    }

    /// Why a service cannot run here: its toolchain or its build is missing.
    #[must_use]
    pub fn missing(&self, service: &Service) -> Option<&str> {
        self.kit.missing(service.language)
    }

    /// Starts a language's service without a sidecar and without registering it, with more in its
    /// environment; `None` where it is missing.
    ///
    /// # Errors
    /// Those of starting a process.
    ///
    /// # Panics
    /// When it does not listen within 60 s.
    pub fn alone(&self, language: &str, environment: &[(&str, &str)]) -> io::Result<Option<Alone>> {
        let service = SERVICES.iter().find(|service| service.language == language);
        let ([program, arguments @ ..], Some(service)) = (self.kit.program(language), service)
        else {
            return Ok(None);
        };
        let port = lasting_port()?;
        let mut command = Command::new(program);
        command.args(arguments);
        self.surround(&mut command, service, port, port, "alone");
        command.env("REGISTER", if language == "java" { "false" } else { "no" });
        command.envs(environment.iter().copied());
        let process = Process::start(&format!("{language}-alone"), self.dir.path(), &mut command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_for(&format!("{language} alone listens"), Duration::from_secs(60), || {
            Ask::new("GET", "/healthz").send(address).is_ok_and(|answer| answer.status == 200)
        });
        Ok(Some(Alone { address, _process: process }))
    }

    /// Starts one more instance; it is registered once [`Self::all_are_passing`].
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn add(&mut self, service: &'static Service) -> io::Result<()> {
        self.add_with(service, &[])
    }

    /// Starts one more instance, with more in its environment and that of its sidecar.
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn add_with(
        &mut self,
        service: &'static Service,
        environment: &[(&str, &str)],
    ) -> io::Result<()> {
        self.started += 1;
        let (own, inbound) = (lasting_port()?, lasting_port()?);
        let id = format!("{}-{}", service.name, self.started);
        let mut command = match service.way {
            Way::Library => Command::new(orders()),
            Way::Sidecar | Way::Itself => self.beside_sidecar(service, own, inbound),
        };
        let port = if service.way == Way::Library { inbound } else { own };
        self.surround(&mut command, service, port, inbound, &id);
        command.envs(environment.iter().copied());
        let process = Process::start(&id, self.dir.path(), &mut command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, inbound));
        self.instances.push(Instance { service, id, address, process });
        Ok(())
    }

    /// Puts a service's environment around it.
    fn surround(
        &self,
        command: &mut Command,
        service: &Service,
        port: u16,
        inbound: u16,
        id: &str,
    ) {
        clean(command);
        command
            .current_dir(examples().join(service.folder))
            .env("PORT", port.to_string())
            .env("INSTANCE_ID", id)
            .env("ADVERTISE_PORT", inbound.to_string())
            .env("CONSUL_HTTP_ADDR", format!("http://{}", self.consul))
            .env("CONSUL_HOST", self.consul.ip().to_string())
            .env("CONSUL_PORT", self.consul.port().to_string())
            .env("DRAIN_NOTICE_MS", if service.way == Way::Itself { "1000" } else { "0" })
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.kit.prepare(command);
    }

    /// `outrigger run … -- PROGRAM`.
    fn beside_sidecar(&self, service: &Service, own: u16, inbound: u16) -> Command {
        let mut command = Command::new(outrigger());
        command
            .args(["run", "--service", service.name, "--language", service.language])
            .args(["--port", &own.to_string(), "--inbound", &format!("127.0.0.1:{inbound}")])
            .args(["--outbound", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--zone", "here"])
            .args(["--version", "0.1.0", "--drain", "5s"]);
        if service.way == Way::Itself {
            command.arg("--no-register");
        } else {
            for tag in tags(service.name) {
                command.args(["--tag", &tag]);
            }
        }
        for upstream in self.upstreams.iter().filter(|_| service.language == "node") {
            command.args(["--upstream", upstream]);
        }
        command.arg("--").args(self.kit.program(service.language));
        command
    }

    /// Whether every instance stands in the registry, passing, under its own address.
    #[must_use]
    pub fn all_are_passing(&self, consul: &RealConsul) -> bool {
        SERVICES.iter().all(|service| {
            let there = passing(consul, service.name);
            self.of(service.name).all(|instance| there.contains(&instance.address))
        })
    }

    /// The instances of a service, oldest first.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |instance| instance.service.name == name)
    }

    /// Takes the oldest instance of a service out of the list.
    ///
    /// # Panics
    /// When there is none.
    pub fn take(&mut self, name: &str) -> Instance {
        let at = self.instances.iter().position(|instance| instance.service.name == name);
        self.instances.remove(at.expect("an instance to take"))
    }

    /// Where visitors ask: requests in absolute form are sent by name.
    #[must_use]
    pub const fn visitors(&self) -> SocketAddr {
        self.visitors
    }

    /// Asks a service by its name, as visitors do.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn ask(&self, name: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        Ask { headers, ..Ask::new("GET", &format!("http://{name}{path}")) }.send(self.visitors)
    }

    /// The last lines of everybody's log, for a message.
    #[must_use]
    pub fn logs(&self) -> String {
        let last = |process: &Process| {
            let log = process.log();
            let lines: Vec<_> = log.lines().collect();
            let from = lines.len().saturating_sub(12);
            format!("--- {}\n{}", process.name(), lines[from..].join("\n"))
        };
        let all = self.instances.iter().map(|instance| &instance.process);
        all.chain([&self._visitors]).map(last).collect::<Vec<_>>().join("\n")
    }
}

/// The tags that a sidecar registers beside the language: Traefik's and fabio's.
#[must_use]
pub fn tags(service: &str) -> [String; 3] {
    [
        "traefik.enable=true".to_owned(),
        format!("traefik.http.routers.{service}.rule=Host(`{service}.example`) && PathPrefix(`/`)"),
        format!("urlprefix-{service}.example/ strip=/{service}"),
    ]
}

/// A service without a sidecar.
#[derive(Debug)]
pub struct Alone {
    address: SocketAddr,
    _process: Process,
}

impl Alone {
    /// Asks it itself.
    ///
    /// # Panics
    /// When it has no answer.
    #[must_use]
    pub fn ask(&self, path: &str) -> Answer {
        self.ask_with(path, &[])
    }

    /// Asks it itself, with headers.
    ///
    /// # Panics
    /// When it has no answer.
    #[must_use]
    pub fn ask_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = Ask { headers, ..Ask::new("GET", path) }.send(self.address);
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }
}

/// A sidecar alone listens within this.
const SOON: Duration = Duration::from_secs(20);

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))
}

/// Takes out of a command what this process was told for itself.
fn clean(command: &mut Command) {
    forget(command, |name| {
        name.to_ascii_lowercase().ends_with("_proxy")
            || ["OUTRIGGER_", "OTEL_", "CONSUL_", "SPRING_"].iter().any(|own| name.starts_with(own))
    });
}
