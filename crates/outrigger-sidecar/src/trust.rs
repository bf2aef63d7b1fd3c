//! Who is believed: by network, by loopback, by what the registry says.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger::telemetry;
use outrigger::tower::ClientAddress;

use crate::Trust;

/// Whose word counts; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Believed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Trust,
    /// Where instances are registered of whom we have heard.
    registered: ArcSwap<HashSet<IpAddr>>,
}

impl Believed {
    pub(crate) fn new(trust: Trust) -> Self {
        Self(Arc::new(Inner { trust, registered: ArcSwap::default() }))
    }

    /// Whether what comes from this address is believed.
    pub(crate) fn believes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let Inner { trust, registered } = &*self.0;
        trust.holds(address)
            || trust.registry && !trust.edge && registered.load().contains(&address)
    }

    /// Whether the registry is asked at all.
    pub(crate) fn asks_registry(&self) -> bool {
        self.0.trust.registry && !self.0.trust.edge
    }

    pub(crate) fn set_registered(&self, addresses: HashSet<IpAddr>) {
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
