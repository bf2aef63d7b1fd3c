//! The demo's fleet as processes: each service as `outrigger demo --role NAME`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::consul::RealConsul;
use crate::process::{Process, forget, lasting_port, outrigger, wait_for};
use crate::raw::Ask;

/// The services of the demo, callees first.
pub const ROLES: [&str; 4] = ["inventory", "pricing", "orders", "storefront"];

/// One instance of a service.
#[derive(Debug)]
#[non_exhaustive]
pub struct Instance {
    /// Which service.
    pub role: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What runs.
    pub process: Process,
}

/// A fleet on a real Consul: storefront, orders, inventory and pricing.
#[derive(Debug)]
pub struct Fleet {
    consul: String,
    environment: Vec<(String, String)>,
    dir: tempfile::TempDir,
    started: u32,
    /// All that run, also those that are stopped.
    pub instances: Vec<Instance>,
}

impl Fleet {
    /// Starts so many instances of each service and waits until all are registered and a checkout
    /// is answered.
    ///
    /// # Errors
    /// Those of starting processes.
    ///
    /// # Panics
    /// When they are not there within 30 s.
    pub fn start(
        consul: &RealConsul,
        sizes: &[(&'static str, usize)],
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut fleet = Self {
            consul: consul.url(),
            environment: environment.iter().map(owned).collect(),
            dir: tempfile::tempdir()?,
            started: 0,
            instances: Vec::new(),
        };
        for (role, size) in sizes {
            for _ in 0..*size {
                fleet.add(role)?;
            }
        }
        let all = fleet.instances.len();
        wait_for("every instance is registered and passing", Duration::from_secs(30), || {
            fleet.passing(consul) == all
        });
        let storefront = fleet.storefront();
        wait_for("a checkout is answered", Duration::from_secs(30), || {
            Ask::new("GET", "/checkout/1").send(storefront).is_ok_and(|a| a.status == 200)
        });
        Ok(fleet)
    }

    /// Starts one more instance; says where it listens.
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn add(&mut self, role: &'static str) -> io::Result<SocketAddr> {
        self.started += 1;
        let port = lasting_port()?;
        let mut command = Command::new(outrigger());
        forget(&mut command, |name| {
            ["OUTRIGGER_", "OTEL_", "CONSUL_"].iter().any(|own| name.starts_with(own))
        });
        command
            .args(["demo", "--role", role])
            .env("PORT", port.to_string())
            .env("OUTRIGGER_CONSUL", &self.consul)
            .env("OUTRIGGER_LOG", "info")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path());
        let name = format!("{role}-{}", self.started);
        let process = Process::start(&name, self.dir.path(), &mut command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.instances.push(Instance { role, address, process });
        Ok(address)
    }

    /// Where the logs of the processes are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the first storefront listens.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn storefront(&self) -> SocketAddr {
        self.of("storefront").next().expect("a storefront was started").address
    }

    /// The instances of a service, oldest first.
    pub fn of(&self, role: &str) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |instance| instance.role == role)
    }

    /// Takes the oldest instance of a service out of the list.
    ///
    /// # Panics
    /// When there is none.
    pub fn take(&mut self, role: &str) -> Instance {
        let at = self.instances.iter().position(|instance| instance.role == role);
        self.instances.remove(at.expect("an instance to take"))
    }

    /// How many of the instances stand in the registry, passing, under their own address.
    #[must_use]
    pub fn passing(&self, consul: &RealConsul) -> usize {
        let there: Vec<_> = ROLES.iter().flat_map(|role| passing(consul, role)).collect();
        self.instances.iter().filter(|instance| there.contains(&instance.address)).count()
    }

    /// The last lines of everybody's log, for a message.
    #[must_use]
    pub fn logs(&self) -> String {
        let last = |instance: &Instance| {
            let log = instance.process.log();
            let lines: Vec<_> = log.lines().collect();
            let from = lines.len().saturating_sub(8);
            format!("--- {}\n{}", instance.process.name(), lines[from..].join("\n"))
        };
        self.instances.iter().map(last).collect::<Vec<_>>().join("\n")
    }
}

/// The addresses under which passing instances of a service stand in the registry.
#[must_use]
pub fn passing(consul: &RealConsul, service: &str) -> Vec<SocketAddr> {
    let path = format!("/v1/health/service/{service}?passing=1");
    let ask = Ask { timeout: Duration::from_millis(500), ..Ask::new("GET", &path) };
    let Ok(answer) = ask.send(consul.address()) else { return Vec::new() };
    let document = answer.json().unwrap_or_default();
    let address = |entry: &serde_json::Value| {
        let service = &entry["Service"];
        let text = format!("{}:{}", service["Address"].as_str()?, service["Port"].as_u64()?);
        text.parse().ok()
    };
    document.as_array().into_iter().flatten().filter_map(address).collect()
}
