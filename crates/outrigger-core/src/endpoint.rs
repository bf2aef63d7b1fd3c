//! An address the data path can send to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Instance, Protocol};

/// An address the data path can send to: an instance and one address it resolved to.
///
/// Shape: for an instance registered by IP there is one endpoint; for one registered by a DNS name
/// there is one per address that the name resolves to. Equality is by instance id and address.
#[derive(Clone)]
pub struct Endpoint {
    instance: Arc<Instance>,
    address: SocketAddr,
}

impl Endpoint {
    /// An endpoint of `instance` at `address`.
    #[must_use]
    pub const fn new(instance: Arc<Instance>, address: SocketAddr) -> Self {
        Self { instance, address }
    }

    /// The instance behind it.
    #[must_use]
    pub const fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to speak there.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.instance.protocol
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && self.instance.id == other.instance.id
    }
}

impl Eq for Endpoint {}

impl std::hash::Hash for Endpoint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        self.instance.id.hash(state);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.instance.id, self.address)
    }
}
