//! Who is believed: by network, by loopback, by what the registry says.
//!
//! The registry is asked about those only who say who they are: a caller that names itself `orders`
//! is believed when it calls from an address that an instance of `orders` is registered at. So
//! nobody watches a whole fleet, and no name that is not listed is asked for.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use outrigger::core::{Address, ServiceName, header};
use outrigger::tower::ClientAddress;
use outrigger::{Fleet, telemetry};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Trust;

/// Whose word counts; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Believed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Trust,
    /// Where instances are registered of whom we have heard.
    registered: ArcSwap<HashSet<IpAddr>>,
    /// Where claims go that nobody has looked at.
    claims: OnceLock<mpsc::Sender<ServiceName>>,
}

impl Believed {
    pub(crate) fn new(trust: Trust) -> Self {
        Self(Arc::new(Inner { trust, registered: ArcSwap::default(), claims: OnceLock::new() }))
    }

    /// Whether what comes from this address is believed.
    pub(crate) fn believes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let Inner { trust, registered, .. } = &*self.0;
        trust.holds(address)
            || trust.registry && !trust.edge && registered.load().contains(&address)
    }

    /// Takes note of who a caller says to be that is not believed, so that the registry is asked.
    pub(crate) fn note_claim(&self, headers: &HeaderMap) {
        if let Some(claims) = self.0.claims.get()
            && let Some(caller) = headers.get(header::CALLER)
            && let Some(caller) = caller.to_str().ok().and_then(|name| name.parse().ok())
        {
            // With so many waiting, one more makes no difference: it will call again.
            let _ = claims.try_send(caller);
        }
    }

    /// Asks the registry about callers who say who they are, for as long as it is polled.
    ///
    /// Of those that `is_listed` knows, the first 64 are asked for, each by one watch.
    pub(crate) async fn follow_claims(
        &self,
        fleet: &Fleet,
        is_listed: impl Fn(&ServiceName) -> bool,
    ) {
        const MOST: usize = 64;
        let (tell, mut told) = mpsc::channel(16);
        if !self.0.trust.registry || self.0.trust.edge || self.0.claims.set(tell).is_err() {
            return;
        }
        let known: Arc<Mutex<HashMap<ServiceName, HashSet<IpAddr>>>> = Arc::default();
        let mut watches = JoinSet::new();
        while let Some(caller) = told.recv().await {
            {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MOST || known.contains_key(&caller) || !is_listed(&caller) {
                    continue;
                }
                known.insert(caller.clone(), HashSet::new());
            }
            let Some(mut instances) = fleet.instances(&caller) else { continue };
            let (believed, known) = (self.clone(), Arc::clone(&known));
            watches.spawn(async move {
                while let Some(snapshot) = instances.next().await {
                    let addresses = snapshot.instances.iter().filter_map(|instance| {
                        match &instance.address {
                            Address::Socket(address) => Some(address.ip().to_canonical()),
                            // A name says nothing of who connects from where.
                            _ => None,
                        }
                    });
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(caller.clone(), addresses.collect());
                    believed.set_registered(known.values().flatten().copied().collect());
                }
            });
        }
    }

    fn set_registered(&self, addresses: HashSet<IpAddr>) {
        self.0.registered.store(Arc::new(addresses));
    }

    /// The same for the layer that traces requests.
    pub(crate) fn of_traces(&self) -> telemetry::Trust {
        if self.0.trust.edge {
            return telemetry::Trust::Nobody;
        }
        let believed = self.clone();
        telemetry::Trust::If(Arc::new(move |extensions| {
            extensions
                .get::<ClientAddress>()
                .is_some_and(|ClientAddress(ip)| believed.believes(*ip))
        }))
    }

    /// Whether this is the edge of the fleet.
    pub(crate) fn is_edge(&self) -> bool {
        self.0.trust.edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn loopback_and_registered_instances_are_believed_unless_somebody_says_otherwise() {
        let believed = Believed::new(Trust::default());
        assert!(believed.believes(ip("127.0.0.1")) && believed.believes(ip("::ffff:127.0.0.1")));
        assert!(!believed.believes(ip("10.0.0.7")));
        believed.set_registered([ip("10.0.0.7")].into());
        assert!(believed.believes(ip("10.0.0.7")) && !believed.believes(ip("10.0.0.8")));
    }

    #[test]
    fn the_edge_believes_nobody_whatever_else_is_said() {
        let mut trust = Trust { edge: true, ..Trust::default() };
        trust.add("10.0.0.0/8").expect("a network");
        let believed = Believed::new(trust);
        believed.set_registered([ip("10.0.0.7")].into());
        assert!(!believed.believes(ip("127.0.0.1")) && !believed.believes(ip("10.0.0.7")));
    }

    #[test]
    fn a_list_takes_the_place_of_the_default() {
        let mut trust = Trust::nobody();
        trust.add("10.0.0.0/8").expect("a network");
        assert!(trust.add("everybody").is_err());
        let believed = Believed::new(trust);
        assert!(believed.believes(ip("10.9.9.9")) && !believed.believes(ip("127.0.0.1")));
    }
}
