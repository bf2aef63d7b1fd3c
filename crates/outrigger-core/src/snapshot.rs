//! Everything that is known of a service at one moment.

use std::sync::Arc;
use std::time::SystemTime;

use crate::{Instance, ServiceName};

/// How far a snapshot is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Freshness {
    /// As the registry said when it was last heard.
    Live,
    /// The registry answered with nothing; the last good set is held until that is confirmed.
    Held,
    /// The registry cannot be reached; the last good set stays.
    Stale,
    /// Read from a file at a cold start; nothing newer is known.
    File,
    /// Written down by the operator, not watched.
    Static,
}

impl Freshness {
    /// The word used in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Held => "held",
            Self::Stale => "stale",
            Self::File => "file",
            Self::Static => "static",
        }
    }
}

/// A whole set of instances, versioned.
///
/// Shape: `instances` holds each id once per datacenter, sorted by (datacenter, id), critical ones
/// included: whether they are used is the balancer's decision. May be empty. Versions of one watch
/// rise strictly; they are not comparable between watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whose instances these are.
    pub service: ServiceName,
    /// Rises with every snapshot of the same watch, starting at 1.
    pub version: u64,
    /// The instances.
    pub instances: Arc<[Arc<Instance>]>,
    /// How far to trust it.
    pub freshness: Freshness,
    /// When the registry last confirmed the set, by the wall clock.
    pub confirmed: SystemTime,
}

impl Snapshot {
    /// A live snapshot; sorts the instances and drops all but the first of an id.
    #[must_use]
    pub fn new(
        service: ServiceName,
        version: u64,
        mut instances: Vec<Arc<Instance>>,
        confirmed: SystemTime,
    ) -> Self {
        instances.sort_by(|a, b| (&a.datacenter, &a.id).cmp(&(&b.datacenter, &b.id)));
        instances.dedup_by(|a, b| a.id == b.id && a.datacenter == b.datacenter);
        Self {
            service,
            version,
            instances: instances.into(),
            freshness: Freshness::Live,
            confirmed,
        }
    }

    /// The same set, trusted differently.
    #[must_use]
    pub fn with_freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// Whether there is no instance at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}
