//! `outrigger services`: what the registry knows.

pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use outrigger::core::{Instance, ServiceName, Snapshot};
use outrigger::discovery::{Catalogue, Query, Resolver, SnapshotStream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli::look::ServicesArgs;
use crate::policy::Ended;
use crate::registry::{Named, named};
use crate::{Exit, dev, print};

/// How long the registry has for its first words.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Changes that come together are printed together.
const TOGETHER: Duration = Duration::from_millis(200);

/// Shows what the registry knows.
pub(crate) async fn run(arguments: ServicesArgs) -> Exit {
    let shown = tokio::select! {
        shown = show(&arguments) => shown,
        exit = dev::interrupted() => return exit,
    };
    shown.unwrap_or_else(|ended| ended.say())
}

async fn show(arguments: &ServicesArgs) -> Result<Exit, Ended> {
    let registry = named(&arguments.registry)?;
    let mut looking = Looking::start(&registry, &arguments.names).await?;
    loop {
        let instances = looking.instances(arguments);
        if arguments.json {
            let rows: Vec<Value> = instances.iter().map(|instance| row(instance)).collect();
            let rows = Value::Array(rows);
            // One line for each change, so that a reader of the stream knows where one ends.
            print::result(&if arguments.watch { rows.to_string() } else { format!("{rows:#}") });
        } else if instances.is_empty() {
            print::note("nothing is registered that fits");
        } else if arguments.names.is_empty() {
            print::result(&table::services(&instances));
        } else {
            print::result(&table::instances(&instances));
        }
        if !arguments.watch {
            return Ok(if instances.is_empty() { Exit::DoesNotHold } else { Exit::Done });
        }
        looking.changed().await?;
        if !arguments.json {
            print::result("");
        }
    }
}

/// What a watch of the registry or of a service said.
enum Said {
    Services(Arc<Catalogue>),
    Instances(Arc<Snapshot>),
}

/// Watches of a registry, and what they said last.
struct Looking<'a> {
    registry: &'a Named,
    /// Services by name, with what is registered; `None` before the first word.
    known: BTreeMap<ServiceName, Option<Arc<Snapshot>>>,
    watches: BTreeMap<ServiceName, JoinHandle<()>>,
    tell: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
}

impl<'a> Looking<'a> {
    /// Waits until the registry has said something of every service.
    async fn start(registry: &'a Named, names: &[ServiceName]) -> Result<Self, Ended> {
        let (tell, said) = mpsc::channel(64);
        let mut looking =
            Self { registry, known: BTreeMap::new(), watches: BTreeMap::new(), tell, said };
        let first = async {
            if names.is_empty() {
                let mut catalogue = registry.consul.catalogue(None);
                let first = catalogue.next().await;
                looking.take(first.map(Said::Services));
                let tell = looking.tell.clone();
                tokio::spawn(async move {
                    while let Some(next) = catalogue.next().await {
                        if tell.send(Said::Services(next)).await.is_err() {
                            return;
                        }
                    }
                });
            } else {
                for name in names {
                    looking.watch(name);
                }
            }
            while looking.known.values().any(Option::is_none) {
                let said = looking.said.recv().await;
                looking.take(said);
            }
        };
        let in_time = timeout(FIRST_WORD, first).await;
        in_time.map_err(|_| silent(registry))?;
        Ok(looking)
    }

    fn watch(&mut self, name: &ServiceName) {
        if self.watches.contains_key(name) {
            return;
        }
        let mut stream: SnapshotStream = self.registry.consul.watch(&Query::new(name.clone()));
        let tell = self.tell.clone();
        let watch = tokio::spawn(async move {
            while let Some(next) = stream.next().await {
                if tell.send(Said::Instances(next)).await.is_err() {
                    return;
                }
            }
        });
        self.known.insert(name.clone(), None);
        self.watches.insert(name.clone(), watch);
    }

    fn take(&mut self, said: Option<Said>) {
        match said {
            Some(Said::Services(catalogue)) => {
                let gone = |name: &ServiceName| !catalogue.services.contains_key(name);
                self.known.retain(|name, _| !gone(name));
                for (_, watch) in self.watches.extract_if(.., |name, _| gone(name)) {
                    watch.abort();
                }
                for name in catalogue.services.keys() {
                    self.watch(name);
                }
            }
            Some(Said::Instances(snapshot)) => {
                // One that was on its way while its service went is not taken back.
                if let Some(known) = self.known.get_mut(&snapshot.service) {
                    *known = Some(snapshot);
                }
            }
            None => {}
        }
    }

    /// Waits for a change, and for what comes right after it.
    async fn changed(&mut self) -> Result<(), Ended> {
        let first = self.said.recv().await;
        self.take(first);
        while let Ok(next) = timeout(TOGETHER, self.said.recv()).await {
            self.take(next);
        }
        Ok(())
    }

    fn instances(&self, arguments: &ServicesArgs) -> Vec<Arc<Instance>> {
        let all = self.known.values().flatten().flat_map(|snapshot| snapshot.instances.iter());
        let is_wanted = |instance: &&Arc<Instance>| {
            arguments.language.is_none() || instance.language == arguments.language
        };
        all.filter(is_wanted).cloned().collect()
    }
}

/// Why a registry said nothing, as far as can be told.
pub(crate) fn silent(registry: &Named) -> Ended {
    let address = &registry.address;
    if registry.consul.is_reachable() {
        let why = anyhow!("the registry at {address} tells nothing of this within {FIRST_WORD:?}");
        return Ended::unreachable(why).with_help(
            "the token needs `service:read` and `node:read`; give another one by \
             CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE",
        );
    }
    Ended::unreachable(anyhow!("no registry answers at {address}"))
        .with_help("name the registry by --consul URL, OUTRIGGER_CONSUL or CONSUL_HTTP_ADDR")
}

/// How long [`silent`] was waited for.
pub(crate) const PATIENCE: Duration = FIRST_WORD;

/// An instance as programs read it.
fn row(instance: &Instance) -> Value {
    let (address, port) = match &instance.address {
        outrigger::core::Address::Socket(socket) => (socket.ip().to_string(), socket.port()),
        outrigger::core::Address::Name(host, port) => (host.to_string(), *port),
        other => (other.to_string(), other.port()),
    };
    json!({
        "service": instance.service,
        "id": instance.id,
        "address": address,
        "port": port,
        "language": instance.language,
        "version": instance.version,
        "zone": instance.zone,
        "dialect": instance.dialect.as_str(),
        "status": instance.status.as_str(),
        "tags": instance.tags,
        "meta": instance.meta,
    })
}
