//! How the pool and the server are set up.

use std::time::Duration;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}; allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, as written in a file.
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub allowed: &'static str,
}

/// How connections to endpoints are made, kept and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PoolConfig {
    /// Time for a connection to be usable: TCP, TLS and HTTP/2's settings together. 1 ms to 1 min.
    /// Default 1 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// Time after which an unused connection is closed, to the second; an endpoint's own
    /// `Keep-Alive: timeout` shortens it. 1 s to 1 h. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Duration,
    /// Most connections to one endpoint. 1 to 65,536. Default 256.
    pub max_connections: u32,
    /// Most requests that wait for a connection to one endpoint; the next is
    /// [`Overloaded`](outrigger_core::Rejected::Overloaded). 0 to 1,048,576. Default 256.
    pub max_pending: u32,
    /// Most unused connections kept per endpoint. 0 to 65,536. Default 256.
    pub max_idle: u32,
    /// Most streams at once on one HTTP/2 connection, where the endpoint allows that many.
    /// 1 to 65,536. Default 100.
    pub max_streams: u32,
    /// Most bytes of a response's head. 8,192 to 1,048,576. Default 65,536.
    pub max_head_bytes: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(30),
            max_connections: 256,
            max_pending: 256,
            max_idle: 256,
            max_streams: 100,
            max_head_bytes: 65_536,
        }
    }
}

impl PoolConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        span("connect_timeout", self.connect_timeout, MS, MINUTE, "1ms to 1m")?;
        span("idle_timeout", self.idle_timeout, SECOND, HOUR, "1s to 1h")?;
        count("max_connections", self.max_connections, 1, 65_536, "1 to 65536")?;
        count("max_pending", self.max_pending, 0, 1_048_576, "0 to 1048576")?;
        count("max_idle", self.max_idle, 0, 65_536, "0 to 65536")?;
        count("max_streams", self.max_streams, 1, 65_536, "1 to 65536")?;
        count("max_head_bytes", self.max_head_bytes, 8_192, 1_048_576, "8192 to 1048576")
    }

    /// The same with every value moved into its range, for a pool that was not given a checked one.
    pub(crate) fn clamped(mut self) -> Self {
        self.connect_timeout = self.connect_timeout.clamp(MS, MINUTE);
        self.idle_timeout = self.idle_timeout.clamp(SECOND, HOUR);
        self.max_connections = self.max_connections.clamp(1, 65_536);
        self.max_pending = self.max_pending.min(1_048_576);
        self.max_idle = self.max_idle.min(65_536);
        self.max_streams = self.max_streams.clamp(1, 65_536);
        self.max_head_bytes = self.max_head_bytes.clamp(8_192, 1_048_576);
        self
    }
}

/// How the server treats its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ServerConfig {
    /// Time from a head's first byte, and from a connection's start, to the end of the head; the
    /// TLS handshake counts too. 10 ms to 5 min. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub header_timeout: Duration,
    /// Time after which a connection without a request is closed. Longer than what pools in front
    /// of it keep, so that they do not send into a closing connection. 1 s to 1 h. Default 75 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Duration,
    /// Time that a peer may be slow for: one that has to send more of a body, or to take more of an
    /// answer, and moves fewer bytes than `min_rate`. 1 s to 1 h. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub body_timeout: Duration,
    /// Bytes per second below which a peer is slow; 0 for no such bound. 0 to 1,048,576.
    /// Default 128.
    pub min_rate: u32,
    /// Most bytes of a request's head. 8,192 to 1,048,576. Default 65,536.
    pub max_head_bytes: u32,
    /// Most headers of a request. 1 to 1,000. Default 100.
    pub max_headers: u32,
    /// Whether paths are brought into their [normal form](outrigger_core::NormalPath), and those
    /// that have none are refused, so that rules and the service see one path. Default true.
    pub normal_paths: bool,
    /// Most connections at once; more wait in the kernel's backlog. 1 to 1,048,576. Default 16,384.
    pub max_connections: u32,
    /// Most streams at once on one HTTP/2 connection. 1 to 65,536. Default 200.
    pub max_streams: u32,
    /// Time that requests in flight get to end after the shutdown. 0 to 1 h. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            min_rate: 128,
            max_head_bytes: 65_536,
            max_headers: 100,
            normal_paths: true,
            max_connections: 16_384,
            max_streams: 200,
            drain: Duration::from_secs(30),
        }
    }
}

impl ServerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        span("header_timeout", self.header_timeout, 10 * MS, 5 * MINUTE, "10ms to 5m")?;
        span("idle_timeout", self.idle_timeout, SECOND, HOUR, "1s to 1h")?;
        span("body_timeout", self.body_timeout, SECOND, HOUR, "1s to 1h")?;
        count("min_rate", self.min_rate, 0, 1_048_576, "0 to 1048576")?;
        count("max_head_bytes", self.max_head_bytes, 8_192, 1_048_576, "8192 to 1048576")?;
        count("max_headers", self.max_headers, 1, 1_000, "1 to 1000")?;
        count("max_connections", self.max_connections, 1, 1_048_576, "1 to 1048576")?;
        count("max_streams", self.max_streams, 1, 65_536, "1 to 65536")?;
        span("drain", self.drain, Duration::ZERO, HOUR, "0s to 1h")
    }

    pub(crate) fn clamped(mut self) -> Self {
        self.header_timeout = self.header_timeout.clamp(10 * MS, 5 * MINUTE);
        self.idle_timeout = self.idle_timeout.clamp(SECOND, HOUR);
        self.body_timeout = self.body_timeout.clamp(SECOND, HOUR);
        self.min_rate = self.min_rate.min(1_048_576);
        self.max_head_bytes = self.max_head_bytes.clamp(8_192, 1_048_576);
        self.max_headers = self.max_headers.clamp(1, 1_000);
        self.max_connections = self.max_connections.clamp(1, 1_048_576);
        self.max_streams = self.max_streams.clamp(1, 65_536);
        self.drain = self.drain.min(HOUR);
        self
    }
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn span(
    key: &'static str,
    found: Duration,
    least: Duration,
    most: Duration,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(ConfigError { key, found: format!("{found:?}"), allowed })
}

fn count(
    key: &'static str,
    found: u32,
    least: u32,
    most: u32,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(ConfigError { key, found: found.to_string(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let pool = PoolConfig::default();
        assert_eq!(pool.validate(), Ok(()));
        assert_eq!(pool.connect_timeout, Duration::from_secs(1));
        assert_eq!(pool.idle_timeout, Duration::from_secs(30));
        assert_eq!((pool.max_connections, pool.max_pending, pool.max_idle), (256, 256, 256));
        assert_eq!((pool.max_streams, pool.max_head_bytes), (100, 65_536));
        let server = ServerConfig::default();
        assert_eq!(server.validate(), Ok(()));
        assert_eq!(server.header_timeout, Duration::from_secs(10));
        assert_eq!(server.idle_timeout, Duration::from_secs(75));
        assert_eq!(server.body_timeout, Duration::from_secs(30));
        assert_eq!((server.min_rate, server.normal_paths), (128, true));
        assert_eq!((server.max_headers, server.max_head_bytes), (100, 65_536));
        assert_eq!((server.max_connections, server.max_streams), (16_384, 200));
        assert_eq!(server.drain, Duration::from_secs(30));
    }

    #[test]
    fn an_error_names_key_value_and_range() {
        let config = PoolConfig { max_connections: 0, ..PoolConfig::default() };
        let error = config.validate().expect_err("0 is out of range");
        assert_eq!(error.to_string(), "`max_connections` is 0; allowed is 1 to 65536");
        assert_eq!(config.clamped().validate(), Ok(()), "clamping makes it valid");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_says_what_differs_and_a_misspelt_key_is_refused() {
        let read = |text| serde_json::from_str::<PoolConfig>(text);
        let config = read(r#"{"connect_timeout":"250ms","max_idle":3}"#).expect("valid");
        assert_eq!(config.connect_timeout, Duration::from_millis(250));
        assert_eq!(
            PoolConfig { connect_timeout: SECOND, max_idle: 256, ..config },
            PoolConfig::default()
        );
        let error = read(r#"{"max_idel":3}"#).expect_err("misspelt").to_string();
        assert!(error.contains("max_idel") && error.contains("max_idle"), "{error}");
        assert!(serde_json::from_str::<ServerConfig>(r#"{"drain":30}"#).is_err(), "no unit");
    }
}
