//! How a registry learns whether an instance is well.

use std::time::Duration;

use crate::RegistrationError;

/// How a registry learns whether an instance is well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// The instance says so, at least every `ttl`; the registrar sends the heartbeats.
    Ttl {
        /// Without a heartbeat for so long the instance is critical; 1 s to 1 h. Default 15 s.
        ttl: Duration,
    },
    /// The registry's agent asks a URL; 2xx is passing, 429 warning, all else critical.
    Http {
        /// `http://` or `https://`, as the agent reaches it.
        url: String,
        /// Time between two questions; 1 s to 1 h.
        interval: Duration,
        /// Time for one answer; more than zero, at most `interval`.
        timeout: Duration,
    },
    /// The agent asks the standard gRPC health service.
    Grpc {
        /// `host:port` or `host:port/service`, as the agent reaches it.
        target: String,
        /// Whether over TLS.
        tls: bool,
        /// Time between two questions; 1 s to 1 h.
        interval: Duration,
        /// Time for one answer; more than zero, at most `interval`.
        timeout: Duration,
    },
    /// The agent opens a connection.
    Tcp {
        /// `host:port`, as the agent reaches it.
        target: String,
        /// Time between two tries; 1 s to 1 h.
        interval: Duration,
        /// Time for one try; more than zero, at most `interval`.
        timeout: Duration,
    },
}

impl Check {
    /// A TTL check with the default of 15 s.
    #[must_use]
    pub const fn ttl() -> Self {
        Self::Ttl { ttl: Duration::from_secs(15) }
    }

    /// An HTTP check every 10 s with 3 s for the answer.
    #[must_use]
    pub fn http(url: impl Into<String>) -> Self {
        Self::Http { url: url.into(), interval: INTERVAL, timeout: TIMEOUT }
    }

    /// A gRPC check in the clear every 10 s with 3 s for the answer.
    #[must_use]
    pub fn grpc(target: impl Into<String>) -> Self {
        Self::Grpc { target: target.into(), tls: false, interval: INTERVAL, timeout: TIMEOUT }
    }

    /// A TCP check every 10 s with 3 s for the connection.
    #[must_use]
    pub fn tcp(target: impl Into<String>) -> Self {
        Self::Tcp { target: target.into(), interval: INTERVAL, timeout: TIMEOUT }
    }

    /// Checks the times and targets.
    ///
    /// # Errors
    /// [`RegistrationError`] with the field, its value and what is allowed.
    pub fn validate(&self) -> Result<(), RegistrationError> {
        const ALLOWED: &str = "1s to 1h";
        let range = |field, value: Duration| {
            let fits = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&value);
            let wrong = || RegistrationError::wrong(field, format_args!("{value:?}"), ALLOWED);
            if fits { Ok(()) } else { Err(wrong()) }
        };
        let (interval, timeout) = match self {
            Self::Ttl { ttl } => return range("checks.ttl", *ttl),
            Self::Http { url, interval, timeout } => {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
                let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
                if !host.is_some_and(is_plain) || url.chars().any(|c| c.is_control() || c == ' ') {
                    let allowed = "http:// or https:// and a host";
                    return Err(RegistrationError::wrong("checks.http", url, allowed));
                }
                (interval, timeout)
            }
            Self::Grpc { target, interval, timeout, .. } => {
                host_and_port("checks.grpc", target.split('/').next().unwrap_or_default())?;
                (interval, timeout)
            }
            Self::Tcp { target, interval, timeout } => {
                host_and_port("checks.tcp", target)?;
                (interval, timeout)
            }
        };
        range("checks.interval", *interval)?;
        if timeout.is_zero() || timeout > interval {
            let allowed = "more than 0, at most the interval";
            let value = format_args!("{timeout:?}");
            return Err(RegistrationError::wrong("checks.timeout", value, allowed));
        }
        Ok(())
    }
}

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);

fn is_plain(host: &str) -> bool {
    !host.is_empty() && !host.contains(|c: char| c.is_control() || c.is_whitespace())
}

fn host_and_port(field: &'static str, target: &str) -> Result<(), RegistrationError> {
    let split = target.rsplit_once(':');
    let fits = split.is_some_and(|(host, port)| {
        is_plain(host) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if fits { Ok(()) } else { Err(RegistrationError::wrong(field, target, "host:port")) }
}
