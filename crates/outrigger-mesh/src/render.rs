//! From policies to files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use outrigger_core::{Instance, ServiceName, Status};
use outrigger_policy::Parsed;

use crate::{envoy, istio};

/// Who enforces the rules instead of the library or the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Target {
    /// Istio 1.30 with sidecars.
    Istio,
    /// A plain Envoy 1.40 beside callers: one static bootstrap.
    Envoy,
}

impl Target {
    /// Every target, in the order of tables.
    pub const ALL: [Self; 2] = [Self::Istio, Self::Envoy];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Envoy => "envoy",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no target {word:?}; allowed are istio and envoy")]
pub struct UnknownTarget {
    /// The word that was given.
    pub word: String,
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(word: &str) -> Result<Self, UnknownTarget> {
        let known = Self::ALL.into_iter().find(|target| target.as_str() == word);
        known.ok_or_else(|| UnknownTarget { word: word.to_owned() })
    }
}

/// What a target must know besides the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The namespace of Istio's resources. Default none: that into which they are applied.
    pub namespace: Option<String>,
    /// Where a plain Envoy listens for callers. Default 127.0.0.1:15001.
    pub listen: Option<std::net::SocketAddr>,
    /// Where its admin surface is. Default 127.0.0.1:15000.
    pub admin: Option<std::net::SocketAddr>,
}

/// Instances that the target cannot find by itself.
///
/// Shape: critical ones are left out; in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet(BTreeMap<ServiceName, Vec<Instance>>);

impl Fleet {
    /// Sets the instances of a service.
    #[must_use]
    pub fn with(mut self, service: ServiceName, instances: Vec<Instance>) -> Self {
        let mut instances = instances;
        instances.retain(|instance| instance.status != Status::Critical);
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        self.0.insert(service, instances);
        self
    }

    pub(crate) fn instances(&self, service: &ServiceName) -> &[Instance] {
        self.0.get(service).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// Its name, without a folder.
    pub path: String,
    /// What is in it; it ends with a line break.
    pub text: String,
}

/// Why policies cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A fleet-wide default names no service, and no resource could be named by it.
    #[error("{file}: a policy that names no service cannot be rendered")]
    NoService {
        /// The policy's file.
        file: String,
    },
    /// Two policies of one service.
    #[error("{service}: two policies, {one} and {other}, are for this service")]
    SameService {
        /// The service.
        service: ServiceName,
        /// The first file.
        one: String,
        /// The other.
        other: String,
    },
    /// Two services have the same name in a cluster, where names are in lower case without `_`.
    #[error("{path} would be written for two services; their names differ in case or `_` only")]
    SameFile {
        /// The file.
        path: String,
    },
    /// Two subsets have the same name in a cluster.
    #[error("{service}: the subsets {one} and {other} would have one name in a cluster")]
    SameSubset {
        /// The service.
        service: ServiceName,
        /// One subset.
        one: String,
        /// The other.
        other: String,
    },
    /// Istio has no word for a parameter of the query that must be absent.
    #[error("{service}: route {route}: istio cannot say that the parameter {parameter} is absent")]
    AbsentParameter {
        /// The service.
        service: ServiceName,
        /// The route.
        route: String,
        /// The parameter.
        parameter: String,
    },
    /// A name that no namespace can have.
    #[error(
        "namespace {given:?} is not allowed; a namespace has 1 to 63 of a-z, 0-9 and `-`, and begins \
         and ends with a letter or digit"
    )]
    Namespace {
        /// The name that was given.
        given: String,
    },
    /// A plain Envoy cannot tell which instances belong to a subset.
    #[error("{service}: its subsets need to know its instances, and none were given")]
    NoInstances {
        /// The service.
        service: ServiceName,
    },
}

/// Renders policies, in the order of their services.
///
/// Pure and deterministic: the same policies, fleet and options make the same bytes, whatever the
/// order in which they are given.
///
/// # Errors
/// [`RenderError`]; nothing is rendered then.
pub fn render(
    target: Target,
    policies: &[Parsed],
    fleet: &Fleet,
    options: &Options,
) -> Result<Vec<Document>, RenderError> {
    if let Some(given) = options.namespace.as_ref().filter(|name| !is_label(name)) {
        return Err(RenderError::Namespace { given: given.clone() });
    }
    let mut by_service: BTreeMap<&ServiceName, &Parsed> = BTreeMap::new();
    for parsed in policies {
        let Some(service) = &parsed.policy.service else {
            return Err(RenderError::NoService { file: parsed.name().to_owned() });
        };
        if let Some(other) = by_service.insert(service, parsed) {
            return Err(RenderError::SameService {
                service: service.clone(),
                one: other.name().to_owned(),
                other: parsed.name().to_owned(),
            });
        }
    }
    let mut all = Vec::new();
    match target {
        Target::Istio => {
            for (service, parsed) in by_service {
                all.extend(istio::render(parsed, service, fleet, options)?);
            }
        }
        Target::Envoy => all.push(envoy::render(&by_service, fleet, options)?),
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = all.iter().find(|document| !seen.insert(document.path.clone())) {
        return Err(RenderError::SameFile { path: twice.path.clone() });
    }
    Ok(all)
}

/// Whether it is a label as RFC 1123 has it, which every namespace is.
fn is_label(name: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
