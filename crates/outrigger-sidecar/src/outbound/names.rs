//! Which names are services.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use outrigger::core::ServiceName;
use outrigger::{Fleet, NamedService};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long a call waits for the registry's first list of services.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// Which names are services: those of upstreams, endpoints and policies, and those that the
/// registry lists. The list is watched once, whatever names are asked for.
#[derive(Debug)]
pub(crate) struct Names {
    fleet: Fleet,
    upstreams: HashSet<ServiceName>,
    listed: Arc<ArcSwap<HashSet<ServiceName>>>,
    /// Whether the registry has listed anything yet.
    heard: watch::Receiver<bool>,
    task: Option<AbortHandle>,
    /// Other datacenters that were named.
    datacenters: Mutex<HashSet<String>>,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is a service.
    Service,
    /// It is none.
    Stranger,
    /// The registry has not said a word yet.
    Undecided,
}

impl Names {
    /// Starts to follow the registry's list; needs a runtime.
    pub(crate) fn start(fleet: Fleet, upstreams: impl IntoIterator<Item = ServiceName>) -> Self {
        let listed = Arc::new(ArcSwap::from_pointee(HashSet::new()));
        let (tell, heard) = watch::channel(false);
        let task = fleet.catalogue(None).map(|mut catalogue| {
            let listed = Arc::clone(&listed);
            let follow = async move {
                while let Some(news) = catalogue.next().await {
                    // As hosts, names of services have no case.
                    let folded = |name: &ServiceName| {
                        let name = name.as_str();
                        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                            ServiceName::new(&name.to_ascii_lowercase()).ok()
                        } else {
                            ServiceName::new(name).ok()
                        }
                    };
                    let names = news.services.keys().filter_map(folded);
                    listed.store(Arc::new(names.collect()));
                    tell.send_replace(true);
                }
            };
            tokio::spawn(follow).abort_handle()
        });
        let upstreams = upstreams.into_iter().collect();
        Self { fleet, upstreams, listed, heard, task, datacenters: Mutex::default() }
    }

    /// What a name is, once the registry has spoken or had its time.
    pub(crate) async fn standing(&self, named: &NamedService) -> Standing {
        if named.datacenter.as_ref().is_some_and(|name| !self.admits(name)) {
            return Standing::Stranger;
        }
        if self.is_known(&named.service) {
            return Standing::Service;
        }
        if self.task.is_none() {
            return Standing::Stranger;
        }
        let mut heard = self.heard.clone();
        let waited = tokio::time::timeout(FIRST_WORD, heard.wait_for(|heard| *heard)).await;
        match waited {
            Ok(_) if self.is_known(&named.service) => Standing::Service,
            Ok(_) => Standing::Stranger,
            // What was saved of the last time is a word too.
            Err(_) if self.fleet.is_described(&named.service) => Standing::Service,
            Err(_) => Standing::Undecided,
        }
    }

    /// Whether services of a datacenter are called: of the first few that were named. Each service
    /// of each is watched, and names cost nothing.
    fn admits(&self, datacenter: &str) -> bool {
        const MOST: usize = 8;
        // Nothing in there panics half-way.
        let mut known = self.datacenters.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST {
            known.insert(datacenter.to_owned());
        }
        known.contains(datacenter)
    }

    fn is_known(&self, service: &ServiceName) -> bool {
        self.upstreams.contains(service)
            || self.listed.load().contains(service)
            || self.fleet.is_fixed(service)
    }

    /// Whether the registry lists a service now.
    pub(crate) fn is_listed(&self, service: &ServiceName) -> bool {
        self.listed.load().contains(service)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
