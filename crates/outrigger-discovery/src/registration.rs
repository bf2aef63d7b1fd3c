//! What an instance tells about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{InstanceId, Language, Protocol, ServiceName, Weights};

use crate::Check;

/// Why a registration is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("registration field `{field}` is {value}; allowed: {allowed}")]
#[non_exhaustive]
pub struct RegistrationError {
    /// The field.
    pub field: &'static str,
    /// Its value, shortened.
    pub value: Box<str>,
    /// What is allowed.
    pub allowed: &'static str,
}

impl RegistrationError {
    /// A field that is wrong; for adapters that allow less than [`Registration::validate`].
    #[must_use]
    pub fn wrong(field: &'static str, value: impl fmt::Display, allowed: &'static str) -> Self {
        // A foreign text goes into a log line: escaped, and not at any length.
        let value: String = value.to_string().chars().take(64).collect();
        Self { field, value: value.escape_debug().to_string().into(), allowed }
    }
}

/// What an instance tells the registry about itself.
///
/// Shape: built with [`Registration::new`] and `with_*`, or by setting fields; checked by
/// [`Registration::validate`], which every registrar calls first.
///
/// ```
/// use outrigger_discovery::{Check, Registration};
///
/// let stock = Registration::new("inventory".parse()?, 8080)
///     .with_version("1.4.2")
///     .with_zone("eu-west-1a")
///     .with_check(Check::http("http://127.0.0.1:8080/health"));
/// stock.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The service it is an instance of.
    pub service: ServiceName,
    /// Its id; the registrar makes `<service>-<host>-<port>-<suffix>` when `None`, the same after
    /// a restart where it can be.
    pub id: Option<InstanceId>,
    /// Where it listens, as others reach it; the agent's own address when `None`.
    pub address: Option<IpAddr>,
    /// The port; never 0.
    pub port: u16,
    /// Its language. Default Rust.
    pub language: Language,
    /// Its version.
    pub version: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// What it speaks. Default HTTP/1.1 in the clear.
    pub protocol: Protocol,
    /// Further tags; the language is added by itself.
    pub tags: Vec<Arc<str>>,
    /// Further metadata; at most 59 pairs, keys of letters, digits, `-` and `_` up to 128 bytes,
    /// values up to 512. The keys that are made from the fields above may not be here.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
    /// How much traffic it wants. Default 1.
    pub weights: Weights,
    /// How the registry learns that it is well. Default one TTL check of 15 s; none counts as passing.
    pub checks: Vec<Check>,
    /// When a critical instance is removed for good; 1 min to 7 days, never when `None`.
    /// Default 10 min.
    pub deregister_critical_after: Option<Duration>,
}

impl Registration {
    /// The keys of metadata that are made from the fields.
    pub const OWN_META: [&'static str; 5] =
        ["language", "version", "protocol", "zone", "outrigger-boot"];

    /// An instance of a service on a port, in Rust, with one TTL check of 15 s.
    #[must_use]
    pub fn new(service: ServiceName, port: u16) -> Self {
        Self {
            service,
            id: None,
            address: None,
            port,
            language: Language::Rust,
            version: None,
            zone: None,
            protocol: Protocol::default(),
            tags: Vec::new(),
            meta: BTreeMap::new(),
            weights: Weights::default(),
            checks: vec![Check::ttl()],
            deregister_critical_after: Some(Duration::from_secs(600)),
        }
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: InstanceId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the language.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the zone.
    #[must_use]
    pub fn with_zone(mut self, zone: &str) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the protocol.
    #[must_use]
    pub const fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a pair of metadata.
    #[must_use]
    pub fn with_meta(mut self, key: &str, value: &str) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Sets the weights.
    #[must_use]
    pub const fn with_weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Adds a check to those that are there; see [`Registration::with_checks`] to replace them.
    #[must_use]
    pub fn with_check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Replaces the checks.
    #[must_use]
    pub fn with_checks(mut self, checks: impl IntoIterator<Item = Check>) -> Self {
        self.checks = checks.into_iter().collect();
        self
    }

    /// Sets when a critical instance is removed.
    #[must_use]
    pub const fn with_deregister_critical_after(mut self, after: Option<Duration>) -> Self {
        self.deregister_critical_after = after;
        self
    }

    /// The time to live of its TTL check, the shortest when there are several.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        let ttl = |check: &Check| match check {
            Check::Ttl { ttl } => Some(*ttl),
            _ => None,
        };
        self.checks.iter().filter_map(ttl).min()
    }

    /// Checks everything that a registry would refuse, or take and then break others with.
    ///
    /// # Errors
    /// The first field that is wrong, its value and what is allowed.
    pub fn validate(&self) -> Result<(), RegistrationError> {
        if self.port == 0 {
            return Err(RegistrationError::wrong("port", 0, "1 to 65535"));
        }
        let closed = |address: &IpAddr| address.is_unspecified() || address.is_multicast();
        if let Some(address) = self.address.filter(closed) {
            let allowed = "an address that others can connect to";
            return Err(RegistrationError::wrong("address", address, allowed));
        }
        if let Some(tag) = self.tags.iter().find(|t| t.is_empty() || t.contains(char::is_control)) {
            return Err(RegistrationError::wrong(
                "tags",
                tag,
                "no empty tag, no control character",
            ));
        }
        for (field, value) in [("version", &self.version), ("zone", &self.zone)] {
            let fits = |v: &str| (1..=512).contains(&v.len()) && !v.contains(char::is_control);
            if let Some(value) = value.as_ref().filter(|v| !fits(v)) {
                return Err(RegistrationError::wrong(
                    field,
                    value,
                    "1 to 512 bytes without control characters",
                ));
            }
        }
        // Consul takes 64 pairs; five are ours.
        if self.meta.len() > 64 - Self::OWN_META.len() {
            return Err(RegistrationError::wrong("meta", self.meta.len(), "at most 59 pairs"));
        }
        for (key, value) in &self.meta {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !(1..=128).contains(&key.len()) || !key.chars().all(plain) {
                return Err(RegistrationError::wrong(
                    "meta",
                    key,
                    "keys of 1 to 128 letters, digits, `-`, `_`",
                ));
            }
            if Self::OWN_META.contains(&&**key) {
                return Err(RegistrationError::wrong(
                    "meta",
                    key,
                    "keys that have no field of their own",
                ));
            }
            if value.len() > 512 || value.contains(char::is_control) {
                return Err(RegistrationError::wrong(
                    "meta",
                    value,
                    "values up to 512 bytes, no control characters",
                ));
            }
        }
        self.checks.iter().try_for_each(Check::validate)?;
        if let Some(after) = self.deregister_critical_after {
            // Consul raises less than a minute to a minute without a word.
            if !(Duration::from_secs(60)..=Duration::from_secs(7 * 86_400)).contains(&after) {
                let value = format_args!("{after:?}");
                return Err(RegistrationError::wrong(
                    "deregister_critical_after",
                    value,
                    "1min to 7d, or none",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Registration {
        Registration::new("stock".parse().expect("valid"), 80)
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let plain = plain();
        assert_eq!(plain.ttl(), Some(Duration::from_secs(15)));
        assert_eq!(plain.deregister_critical_after, Some(Duration::from_secs(600)));
        assert_eq!(plain.language, Language::Rust);
        assert_eq!(plain.validate(), Ok(()));
    }

    #[test]
    fn each_wrong_field_is_named_with_its_value_and_what_is_allowed() {
        let secs = Duration::from_secs;
        let ttl = |ttl| vec![Check::Ttl { ttl }];
        let tcp = |target: &str| vec![Check::tcp(target)];
        let slow = Check::Http { url: "http://a/".into(), interval: secs(1), timeout: secs(2) };
        for (field, wrong) in [
            ("port", Registration { port: 0, ..plain() }),
            ("address", plain().with_address(IpAddr::from([0, 0, 0, 0]))),
            ("tags", plain().with_tag("two\nlines")),
            ("tags", plain().with_tag("")),
            ("version", plain().with_version("")),
            ("zone", plain().with_zone("a\r\nb")),
            ("meta", plain().with_meta("a.b", "dots are not allowed in keys")),
            ("meta", plain().with_meta("language", "go")),
            ("meta", plain().with_meta("key", &"v".repeat(513))),
            ("checks.ttl", plain().with_checks(ttl(secs(0)))),
            ("checks.ttl", plain().with_checks(ttl(secs(3601)))),
            ("checks.http", plain().with_check(Check::http("ftp://127.0.0.1/"))),
            ("checks.http", plain().with_check(Check::http("http:///health"))),
            ("checks.grpc", plain().with_check(Check::grpc("127.0.0.1"))),
            ("checks.tcp", plain().with_checks(tcp("127.0.0.1:0"))),
            ("checks.tcp", plain().with_checks(tcp(":80"))),
            ("checks.timeout", plain().with_check(slow)),
            ("deregister_critical_after", plain().with_deregister_critical_after(Some(secs(59)))),
        ] {
            let error = wrong.validate().expect_err(field);
            assert_eq!(error.field, field);
            assert!(error.to_string().contains("allowed"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
