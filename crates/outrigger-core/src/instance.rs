//! One registered process of a service, as the registry tells it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{InstanceId, Language, ServiceName};

/// The registry's verdict on an instance.
///
/// Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Status {
    /// Every check passes, or there is none.
    Passing,
    /// A check warns; used with its warning weight.
    Warning,
    /// A check is critical, or the instance is in maintenance; used only when nothing else is left.
    Critical,
}

impl Status {
    /// Consul's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of the traffic an instance gets, set by its operator; higher gets more.
///
/// Units: relative to the other instances of the service. 0 gets nothing while others are usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Weights {
    /// While passing. Default 1.
    pub passing: u16,
    /// While warning. Default 1.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// What an instance speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    #[default]
    Http,
    /// HTTP/2 in the clear, by prior knowledge.
    H2c,
    /// HTTP over TLS; ALPN chooses between 1.1 and 2.
    Https,
    /// gRPC in the clear: HTTP/2 by prior knowledge.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl Protocol {
    /// Reads Meta `protocol`, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::H2c, Self::Https, Self::Grpc, Self::Grpcs]
            .into_iter()
            .find(|p| p.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// The word as it stands in Meta.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    /// The same behind TLS.
    #[must_use]
    pub const fn over_tls(self) -> Self {
        match self {
            Self::Http | Self::H2c | Self::Https => Self::Https,
            Self::Grpc | Self::Grpcs => Self::Grpcs,
        }
    }

    /// Whether the connection starts with HTTP/2 at once (in the clear) or must agree on it (TLS).
    #[must_use]
    pub const fn is_http2_only(self) -> bool {
        matches!(self, Self::H2c | Self::Grpc | Self::Grpcs)
    }
}

/// Whose way of registering an entry follows, told by its tags and metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Dialect {
    /// Ours: Meta `outrigger-boot`.
    Outrigger,
    /// Spring Cloud Consul: `secure`, `zone`, `group` in Meta, `key=value` tags before 2020.
    Spring,
    /// kratos: a `version=` tag, addresses in TaggedAddresses.
    Kratos,
    /// go-micro: hex-compressed tags, which say nothing to anybody else.
    GoMicro,
    /// Dapr: `DAPR_PORT` in Meta.
    Dapr,
    /// fabio: `urlprefix-` tags.
    Fabio,
    /// Traefik: `traefik.` tags.
    Traefik,
    /// None of the above.
    #[default]
    Plain,
}

impl Dialect {
    /// The word used in answers and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outrigger => "outrigger",
            Self::Spring => "spring",
            Self::Kratos => "kratos",
            Self::GoMicro => "go-micro",
            Self::Dapr => "dapr",
            Self::Fabio => "fabio",
            Self::Traefik => "traefik",
            Self::Plain => "plain",
        }
    }
}

/// Where an instance says it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port other than 0.
    Socket(SocketAddr),
    /// A DNS name, resolved again every 30 s, and a port other than 0.
    Name(Arc<str>, u16),
}

impl Address {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => fmt::Display::fmt(address, f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

/// One registered process of a service, as the registry tells it.
///
/// Shape: owned by the snapshot it came in, shared by `Arc`. Built with [`Instance::new`] and the
/// fields set afterwards, since adapters fill most of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Instance {
    /// Unique per agent; state on our side is kept by it.
    pub id: InstanceId,
    /// The service it is an instance of.
    pub service: ServiceName,
    /// Where it listens.
    pub address: Address,
    /// The registry's verdict. Default passing.
    pub status: Status,
    /// What its operator set.
    pub weights: Weights,
    /// What it speaks. Default HTTP/1.1 in the clear.
    pub protocol: Protocol,
    /// The language, where the registration tells one.
    pub language: Option<Language>,
    /// The version, as written.
    pub version: Option<Arc<str>>,
    /// The zone, for locality.
    pub zone: Option<Arc<str>>,
    /// The datacenter it was found in.
    pub datacenter: Option<Arc<str>>,
    /// The agent's node.
    pub node: Option<Arc<str>>,
    /// Changes whenever the process starts anew; ours only.
    pub boot: Option<Arc<str>>,
    /// Whose way of registering it follows.
    pub dialect: Dialect,
    /// Tags as registered, in order.
    pub tags: Vec<Arc<str>>,
    /// Metadata as registered.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
}

impl Instance {
    /// An instance that is passing, in the clear, with weight 1 and nothing else known.
    #[must_use]
    pub fn new(id: InstanceId, service: ServiceName, address: impl Into<Address>) -> Self {
        Self {
            id,
            service,
            address: address.into(),
            status: Status::Passing,
            weights: Weights::default(),
            protocol: Protocol::default(),
            language: None,
            version: None,
            zone: None,
            datacenter: None,
            node: None,
            boot: None,
            dialect: Dialect::default(),
            tags: Vec::new(),
            meta: BTreeMap::new(),
        }
    }

    /// The weight that applies at the present status; 0 while critical.
    #[must_use]
    pub const fn weight(&self) -> u16 {
        match self.status {
            Status::Passing => self.weights.passing,
            Status::Warning => self.weights.warning,
            Status::Critical => 0,
        }
    }

    /// Whether a tag is there, to the letter.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| &**t == tag)
    }

    /// The version as a semantic version; a leading `v` and missing parts are forgiven.
    #[must_use]
    pub fn semver(&self) -> Option<semver::Version> {
        let text = self.version.as_deref()?.trim().trim_start_matches(['v', 'V']);
        semver::Version::parse(text).ok().or_else(|| {
            let mut parts = text.split('.').map(str::parse::<u64>);
            let major = parts.next()?.ok()?;
            let minor = parts.next().map_or(Some(0), Result::ok)?;
            let patch = parts.next().map_or(Some(0), Result::ok)?;
            parts.next().is_none().then(|| semver::Version::new(major, minor, patch))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        Instance::new(
            InstanceId::new("stock-1").expect("valid"),
            ServiceName::new("stock").expect("valid"),
            SocketAddr::from(([127, 0, 0, 1], 80)),
        )
    }

    #[test]
    fn the_weight_follows_the_status() {
        let mut instance = instance();
        instance.weights = Weights { passing: 10, warning: 3 };
        assert_eq!(instance.weight(), 10);
        instance.status = Status::Warning;
        assert_eq!(instance.weight(), 3);
        instance.status = Status::Critical;
        assert_eq!(instance.weight(), 0);
    }

    #[test]
    fn a_loose_version_is_understood() {
        let mut instance = instance();
        for (text, wanted) in [("v2", "2.0.0"), ("1.2", "1.2.0"), ("1.2.3-rc.1", "1.2.3-rc.1")] {
            instance.version = Some(text.into());
            assert_eq!(instance.semver().map(|v| v.to_string()).as_deref(), Some(wanted), "{text}");
        }
        instance.version = Some("latest".into());
        assert_eq!(instance.semver(), None);
    }
}
