//! How to reach Consul, and how hard to ask it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{Clock, Observers};
use outrigger_discovery::GuardConfig;

use crate::clock::RuntimeClock;
use crate::dial::TcpDial;
use crate::{AgentAddress, Dial, TokenSource};

mod env;

/// Why a configuration is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that cannot be.
    #[error("consul key `{key}` is {value:?}; allowed: {allowed}")]
    Value {
        /// The key, or the environment variable.
        key: Box<str>,
        /// Its value, shortened.
        value: Box<str>,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The token cannot stand in a header. It is not shown.
    #[error("consul token is not valid; allowed: 1 to 512 printable ASCII characters, no spaces")]
    Token,
    /// A file cannot be read.
    #[error("consul key `{key}`: file {path:?} cannot be read")]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file holds no certificate or key, or not a fitting one.
    #[error("consul key `{key}`: no usable certificate or key in {path:?}")]
    Pem {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: outrigger_core::BoxError,
    },
    /// The TLS library refuses the set-up.
    #[error("consul TLS cannot be set up")]
    Tls(#[source] outrigger_core::BoxError),
    /// There is no tokio runtime to run the watches and heartbeats on.
    #[error("consul needs a running tokio runtime with time and I/O enabled")]
    NoRuntime,
}

impl ConfigError {
    pub(crate) fn value(key: &str, value: &str, allowed: &'static str) -> Self {
        // Some write user and password into the address, where they do not belong and must not show.
        let value = match value.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => value.to_owned(),
        };
        let value: String = value.chars().take(64).collect();
        Self::Value { key: key.into(), value: value.into(), allowed }
    }
}

/// TLS to Consul; used when the address says https.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsConfig {
    /// A PEM file with the authorities to trust; the system's when `None`.
    pub ca: Option<PathBuf>,
    /// A PEM file with our certificate and its chain.
    pub cert: Option<PathBuf>,
    /// The key of `cert`; both or none.
    pub key: Option<PathBuf>,
    /// The name to ask for and to check, when it is not the address's host.
    pub server_name: Option<String>,
    /// Whether the server's certificate is checked. Default true; false is for a laptop.
    pub verify: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { ca: None, cert: None, key: None, server_name: None, verify: true }
    }
}

/// How to reach Consul, and how hard to ask it.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConsulConfig {
    /// The agent. Default `http://127.0.0.1:8500`.
    pub address: AgentAddress,
    /// The ACL token.
    pub token: TokenSource,
    /// User and password for a proxy before the agent, from `CONSUL_HTTP_AUTH`.
    pub basic_auth: Option<BasicAuth>,
    /// TLS.
    pub tls: TlsConfig,
    /// The namespace (Consul Enterprise).
    pub namespace: Option<String>,
    /// How long a watch waits for a change, 1 s to 10 min. Default 5 min.
    pub wait: Duration,
    /// Time for any other question, 100 ms to 1 min. Default 10 s: without a quorum Consul takes 9.
    pub timeout: Duration,
    /// Time for a connection, 10 ms to 1 min. Default 2 s.
    pub connect_timeout: Duration,
    /// Whether any server may answer, not only the leader. Default true: large fleets melt it.
    pub stale: bool,
    /// How long the answering server may not have heard its leader, 0 s to 10 min. Default 10 s.
    pub max_stale: Duration,
    /// Connections for watches, 1 to 100. Default 32: an agent allows 200 per client address, and
    /// all processes of a machine share them. Further watches take turns.
    pub max_watches: usize,
    /// Longest answer in bytes, 64 KiB to 256 MiB. Default 32 MiB.
    pub max_answer: usize,
    /// Most instances of one service, 1 to 1,000,000. Default 20,000.
    pub max_instances: usize,
    /// How often a registration is compared with what stands in the registry, 1 s to 1 h.
    /// Default 30 s.
    pub verify_every: Duration,
    /// When an empty answer is believed.
    pub guard: GuardConfig,
    /// The clocks. Default the runtime's.
    pub clock: Arc<dyn Clock>,
    /// Who is told what happens. Default nobody.
    pub observers: Observers,
    /// Who opens connections. Default the machine's own sockets.
    pub dialer: Arc<dyn Dial>,
}

/// User and password of HTTP basic authentication; does not show.
#[derive(Clone)]
pub struct BasicAuth {
    pub(crate) header: http::HeaderValue,
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicAuth(…)")
    }
}

impl BasicAuth {
    /// Reads `user:password`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] without the value when there is no colon.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        use base64::Engine as _;
        let wrong = || ConfigError::value("basic_auth", "…", "user:password");
        let text = text.contains(':').then_some(text).ok_or_else(wrong)?;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        let header = http::HeaderValue::from_str(&format!("Basic {text}"));
        let mut header = header.map_err(|_| wrong())?;
        header.set_sensitive(true);
        Ok(Self { header })
    }
}

impl Default for ConsulConfig {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            address: AgentAddress::default(),
            token: TokenSource::None,
            basic_auth: None,
            tls: TlsConfig::default(),
            namespace: None,
            wait: secs(300),
            timeout: secs(10),
            connect_timeout: secs(2),
            stale: true,
            max_stale: secs(10),
            max_watches: 32,
            max_answer: 32 << 20,
            max_instances: 20_000,
            verify_every: secs(30),
            guard: GuardConfig::default(),
            clock: Arc::new(RuntimeClock),
            observers: Observers::none(),
            dialer: Arc::new(TcpDial),
        }
    }
}

impl fmt::Debug for ConsulConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Token and password print as `…` by themselves.
        f.debug_struct("ConsulConfig")
            .field("address", &self.address)
            .field("token", &self.token)
            .field("basic_auth", &self.basic_auth)
            .field("tls", &self.tls)
            .field("namespace", &self.namespace)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl ConsulConfig {
    /// The defaults with another agent.
    #[must_use]
    pub fn new(address: AgentAddress) -> Self {
        Self { address, ..Self::default() }
    }

    /// Reads the environment, with the variables of the official clients: `CONSUL_HTTP_ADDR`,
    /// `CONSUL_HTTP_SSL`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_AUTH`,
    /// `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_HTTP_SSL_VERIFY`,
    /// `CONSUL_TLS_SERVER_NAME`, `CONSUL_NAMESPACE`. An empty one is as if it were not there.
    ///
    /// # Errors
    /// [`ConfigError`] naming the variable, its value and what is allowed.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same over any source of variables.
    ///
    /// # Errors
    /// As [`ConsulConfig::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        env::read(&lookup)
    }

    /// Sets the token.
    #[must_use]
    pub fn with_token(mut self, token: TokenSource) -> Self {
        self.token = token;
        self
    }

    /// Sets the clocks.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets who is told what happens.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Sets who opens connections.
    #[must_use]
    pub fn with_dialer(mut self, dialer: Arc<dyn Dial>) -> Self {
        self.dialer = dialer;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key that is out of range, its value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ms = Duration::from_millis;
        let times = [
            ("wait", self.wait, ms(1_000)..=ms(600_000), "1s to 10min"),
            ("timeout", self.timeout, ms(100)..=ms(60_000), "100ms to 1min"),
            ("connect_timeout", self.connect_timeout, ms(10)..=ms(60_000), "10ms to 1min"),
            ("max_stale", self.max_stale, ms(0)..=ms(600_000), "0s to 10min"),
            ("verify_every", self.verify_every, ms(1_000)..=ms(3_600_000), "1s to 1h"),
        ];
        for (key, value, range, allowed) in times {
            if !range.contains(&value) {
                return Err(ConfigError::value(key, &format!("{value:?}"), allowed));
            }
        }
        let counts = [
            ("max_watches", self.max_watches, 1..=100, "1 to 100"),
            ("max_answer", self.max_answer, 64 << 10..=256 << 20, "64 KiB to 256 MiB"),
            ("max_instances", self.max_instances, 1..=1_000_000, "1 to 1000000"),
        ];
        for (key, value, range, allowed) in counts {
            if !range.contains(&value) {
                return Err(ConfigError::value(key, &value.to_string(), allowed));
            }
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            let (key, allowed) = ("tls.cert", "both `tls.cert` and `tls.key`, or none");
            return Err(ConfigError::value(key, "one without the other", allowed));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let namespace = self.namespace.as_deref().unwrap_or("default");
        if namespace.is_empty() || namespace.len() > 64 || !namespace.chars().all(plain) {
            let allowed = "1 to 64 letters, digits, `-`, `_`";
            return Err(ConfigError::value("namespace", namespace, allowed));
        }
        self.guard.validate().map_err(|error| {
            let key = format!("guard.{}", error.key);
            ConfigError::value(&key, &format!("{:?}", error.value), error.allowed)
        })
    }
}
