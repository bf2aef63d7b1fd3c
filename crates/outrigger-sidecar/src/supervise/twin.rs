//! An application that announces itself: a second entry for one program.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use outrigger::consul::{Consul, ConsulConfig};
use outrigger::core::{Address, Instance, ServiceName, Snapshot, Status};
use outrigger::discovery::{Query, Resolver as _};
use tokio::time::timeout;

/// How long our own entry may take to be seen beside the program's.
const OWN_ENTRY: Duration = Duration::from_secs(5);

/// Two entries of one program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{service}` is in the registry twice: the program announced itself as `{theirs}` at its own \
     port {port}, and this sidecar announced it as {}. Leave it one entry: either `--no-register`, \
     which leaves the program its own, or switch the program's own registration off",
    ours.as_deref().map_or_else(|| "an entry of its own".to_owned(), |ours| format!("`{ours}`"))
)]
#[non_exhaustive]
pub struct Twin {
    /// The service.
    pub service: ServiceName,
    /// The id of the program's own entry.
    pub theirs: String,
    /// The id of ours, once the registry has it.
    pub ours: Option<String>,
    /// The program's own port.
    pub port: u16,
}

/// Where to look for a second entry.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) service: ServiceName,
    /// Where the program itself listens.
    pub(super) port: u16,
    /// Where the sidecar listens for it.
    pub(super) inbound: Option<SocketAddr>,
    /// The registry, as it was set; `None` for what the environment says.
    pub(super) consul: Option<String>,
}

impl Search {
    /// Answers once there is a second entry; never when there is none.
    pub(super) async fn find(&self) -> Twin {
        let Some(consul) = self.registry() else { return std::future::pending().await };
        let mut watch = consul.watch(&Query::new(self.service.clone()));
        let mut found: Option<Twin> = None;
        loop {
            let next = async {
                match watch.next().await {
                    Some(snapshot) => snapshot,
                    None => std::future::pending().await,
                }
            };
            // Both ids are to be named, and ours may only be on its way into the registry.
            let snapshot = match &found {
                Some(twin) => match timeout(OWN_ENTRY, next).await {
                    Ok(snapshot) => snapshot,
                    Err(_) => return twin.clone(),
                },
                None => next.await,
            };
            found = self.twin(&snapshot, is_local);
            if let Some(twin) = found.take_if(|twin| twin.ours.is_some()) {
                return twin;
            }
        }
    }

    fn registry(&self) -> Option<Consul> {
        let mut config = ConsulConfig::from_env().ok()?;
        if let Some(address) = &self.consul {
            config.address = address.parse().ok()?;
        }
        Consul::new(config).ok()
    }

    fn twin(&self, snapshot: &Snapshot, is_local: impl Fn(&Address) -> bool) -> Option<Twin> {
        let theirs = snapshot.instances.iter().find(|instance| {
            instance.address.port() == self.port
                && instance.status != Status::Critical
                && is_local(&instance.address)
        })?;
        let at = |instance: &&std::sync::Arc<Instance>| {
            self.inbound.is_some_and(|inbound| inbound.port() == instance.address.port())
                && is_local(&instance.address)
        };
        let ours = snapshot.instances.iter().find(at);
        Some(Twin {
            service: self.service.clone(),
            theirs: theirs.id.to_string(),
            ours: ours.map(|ours| ours.id.to_string()),
            port: self.port,
        })
    }
}

/// Whether an address is one of this machine's: then a socket can be bound to it.
fn is_local(address: &Address) -> bool {
    let ips: Vec<IpAddr> = match address {
        Address::Socket(address) => vec![address.ip()],
        Address::Name(name, _) if name.eq_ignore_ascii_case("localhost") => return true,
        // A name that is this machine's own: it is told without a question to the network.
        Address::Name(name, _) => {
            return own_name().is_some_and(|own| own.eq_ignore_ascii_case(name));
        }
        _ => Vec::new(),
    };
    ips.iter().any(|ip| ip.is_loopback() || UdpSocket::bind((*ip, 0)).is_ok())
}

fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn instance(id: &str, address: &str, status: Status) -> Arc<Instance> {
        let address: SocketAddr = address.parse().expect("an address");
        let service = "billing".parse().expect("a name");
        let mut instance = Instance::new(id.parse().expect("an id"), service, address);
        instance.status = status;
        Arc::new(instance)
    }

    fn search(instances: Vec<Arc<Instance>>) -> Option<Twin> {
        let service: ServiceName = "billing".parse().expect("a name");
        let search = Search {
            service: service.clone(),
            port: 8080,
            inbound: "127.0.0.1:40000".parse().ok(),
            consul: None,
        };
        let snapshot = Snapshot::new(service, 1, instances, std::time::SystemTime::UNIX_EPOCH);
        search.twin(&snapshot, is_local)
    }

    #[test]
    fn an_entry_at_the_program_s_own_port_is_a_second_one_and_both_are_named() {
        let ours = instance("ours-1", "127.0.0.1:40000", Status::Passing);
        let theirs = instance("billing-8080", "127.0.0.1:8080", Status::Passing);
        let text = search(vec![Arc::clone(&ours), theirs]).expect("a twin").to_string();
        assert!(text.contains("`billing-8080`") && text.contains("`ours-1`"), "{text}");
        assert!(text.contains("--no-register"), "{text}");
        assert_eq!(search(vec![ours]), None);
    }

    #[test]
    fn the_same_port_of_another_machine_and_an_entry_that_is_gone_are_no_twins() {
        assert_eq!(search(vec![instance("far", "192.0.2.7:8080", Status::Passing)]), None);
        assert_eq!(search(vec![instance("old", "127.0.0.1:8080", Status::Critical)]), None);
    }
}
