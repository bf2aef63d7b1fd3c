//! How hard to ask, and what a handed-over client must look like.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use outrigger_core::{Clock, Observers};
use outrigger_discovery::GuardConfig;

/// Why a client or a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that cannot be.
    #[error("consulrs key `{key}` is {value:?}; allowed: {allowed}")]
    Value {
        /// The key.
        key: Box<str>,
        /// Its value, shortened.
        value: Box<str>,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The client's token cannot stand in a header: consulrs would panic. It is not shown.
    #[error("the client's token is not valid; allowed: up to 512 printable ASCII characters")]
    Token,
    /// The client's address has a user, a path or no host: consulrs would panic or ask elsewhere.
    /// It is not shown, since it may hold a password.
    #[error("the client's address is not valid; allowed: http:// or https://, a host and a port")]
    Address,
    /// There is no tokio runtime to run the calls on.
    #[error("consulrs needs a running tokio runtime with time and I/O enabled")]
    NoRuntime,
}

/// How hard to ask; where and with which token is the client's own matter.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConsulrsConfig {
    /// How long a watch waits for a change, 1 s to 10 min. Default 5 min.
    pub wait: Duration,
    /// Time for any other question, 100 ms to 1 min. Default 10 s: without a quorum Consul takes 9.
    pub timeout: Duration,
    /// How often a registration is compared with what stands in the registry, 1 s to 1 h.
    /// Default 30 s.
    pub verify_every: Duration,
    /// Connections for watches, 1 to 100. Default 32; further watches take turns.
    pub max_watches: usize,
    /// Longest answer in bytes that is read, 64 KiB to 256 MiB. Default 32 MiB. consulrs has it in
    /// memory by then.
    pub max_answer: usize,
    /// When an empty answer is believed.
    pub guard: GuardConfig,
    /// The clocks. Default the runtime's.
    pub clock: Arc<dyn Clock>,
    /// Who is told what happens. Default nobody.
    pub observers: Observers,
}

impl Default for ConsulrsConfig {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            wait: secs(300),
            timeout: secs(10),
            verify_every: secs(30),
            max_watches: 32,
            max_answer: 32 << 20,
            guard: GuardConfig::default(),
            clock: Arc::new(RuntimeClock),
            observers: Observers::none(),
        }
    }
}

impl ConsulrsConfig {
    /// Sets how long a watch waits for a change.
    #[must_use]
    pub const fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets the time for any other question.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets when an empty answer is believed.
    #[must_use]
    pub const fn with_guard(mut self, guard: GuardConfig) -> Self {
        self.guard = guard;
        self
    }

    /// Sets who is told what happens.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key that is out of range, its value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ms = Duration::from_millis;
        let wrong = |key: &str, value: String, allowed| {
            Err(ConfigError::Value { key: key.into(), value: value.into(), allowed })
        };
        for (key, value, range, allowed) in [
            ("wait", self.wait, ms(1_000)..=ms(600_000), "1s to 10min"),
            ("timeout", self.timeout, ms(100)..=ms(60_000), "100ms to 1min"),
            ("verify_every", self.verify_every, ms(1_000)..=ms(3_600_000), "1s to 1h"),
        ] {
            if !range.contains(&value) {
                return wrong(key, format!("{value:?}"), allowed);
            }
        }
        for (key, value, range, allowed) in [
            ("max_watches", self.max_watches, 1..=100, "1 to 100"),
            ("max_answer", self.max_answer, 64 << 10..=256 << 20, "64 KiB to 256 MiB"),
        ] {
            if !range.contains(&value) {
                return wrong(key, value.to_string(), allowed);
            }
        }
        self.guard.validate().or_else(|error| {
            wrong(&format!("guard.{}", error.key), format!("{:?}", error.value), error.allowed)
        })
    }
}

impl fmt::Debug for ConsulrsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulrsConfig")
            .field("wait", &self.wait)
            .field("timeout", &self.timeout)
            .field("verify_every", &self.verify_every)
            .finish_non_exhaustive()
    }
}

/// The runtime's clock: pauses when the runtime's does.
#[derive(Clone, Copy, Debug, Default)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "the edge where an adapter's time begins")]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[expect(clippy::disallowed_methods, reason = "the edge where an adapter's time begins")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones_and_valid() {
        let config = ConsulrsConfig::default();
        assert_eq!(config.wait, Duration::from_secs(300));
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!(config.verify_every, Duration::from_secs(30));
        assert_eq!((config.max_watches, config.max_answer), (32, 32 << 20));
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn each_key_out_of_range_is_named_with_what_is_allowed() {
        let plain = ConsulrsConfig::default;
        let mut guard = GuardConfig::default();
        guard.hold = Duration::ZERO;
        for (key, wrong) in [
            ("wait", plain().with_wait(Duration::from_secs(601))),
            ("timeout", plain().with_timeout(Duration::ZERO)),
            ("verify_every", ConsulrsConfig { verify_every: Duration::ZERO, ..plain() }),
            ("max_watches", ConsulrsConfig { max_watches: 0, ..plain() }),
            ("max_answer", ConsulrsConfig { max_answer: 1, ..plain() }),
            ("guard.hold", plain().with_guard(guard)),
        ] {
            let error = wrong.validate().expect_err(key).to_string();
            assert!(error.contains(key) && error.contains("allowed"), "{error}");
        }
    }
}
