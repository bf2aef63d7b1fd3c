//! How callers reach a service, and what a service accepts: the settings of the rules.

mod spans;

use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_balance::{BalanceConfig, EjectConfig};
use outrigger_breaker::BreakerConfig;
use outrigger_core::Rate;
use outrigger_http::PoolConfig;
use outrigger_limit::{Gradient2Config, RateLimitConfig};
use outrigger_retry::{HedgeConfig, RetryConfig};
use serde::{Deserialize, Serialize};

/// How this process calls a service; the outbound half of a policy.
///
/// Without any setting: one answer within 15 s, one more try for what no endpoint saw, the less
/// loaded of two endpoints by peak EWMA, ejection after five errors in a row. A section that is
/// `None` is off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Rules {
    /// Time for all tries and backoffs, to the end of the body, 1 ms to 24 h; `none` switches it
    /// off. Default 15 s.
    #[serde(with = "spans::none_or_duration")]
    pub timeout: Option<Duration>,
    /// Longest time between two frames of a stream (gRPC, event streams), which `timeout` does not
    /// end, 1 ms to 24 h; `none` switches it off. Default 5 min.
    #[serde(with = "spans::none_or_duration")]
    pub idle_timeout: Option<Duration>,
    /// Time until a connection is usable, 1 ms to 1 min. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// When a request is sent again. Default one more try, for what no endpoint saw.
    pub retry: RetryConfig,
    /// When a second try is started while the first still runs. Default never.
    pub hedge: Option<HedgeConfig>,
    /// This process's own use of the service. Default unlimited.
    pub rate_limits: Vec<RateLimitConfig>,
    /// How the endpoint is chosen. Default peak EWMA.
    pub balance: BalanceConfig,
    /// When an endpoint is taken out; `None` for never. Default after five errors in a row.
    pub eject: Option<EjectConfig>,
    /// When the circuit opens. Default: there is none.
    pub breaker: Option<BreakerConfig>,
    /// How much may be in flight. Default unlimited in requests; 256 connections an endpoint.
    pub capacity: Option<Capacity>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(15)),
            idle_timeout: Some(Duration::from_secs(300)),
            connect_timeout: Duration::from_secs(1),
            retry: RetryConfig::default(),
            hedge: None,
            rate_limits: Vec::new(),
            balance: BalanceConfig::default(),
            eject: Some(EjectConfig::default()),
            breaker: None,
            capacity: None,
        }
    }
}

/// How much may be in flight to a service; the `capacity` table of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Capacity {
    /// Requests in flight, 1 to 1,048,576; one more is refused at once. Default 1024.
    pub max_requests: u32,
    /// Connections to one endpoint, 1 to 65,536. Default 256.
    pub max_connections: u32,
    /// Requests that wait for a connection to one endpoint, 0 to 1,048,576. Default 256.
    pub max_pending: u32,
    /// A limit that follows the answer times. Default off.
    pub adaptive: Option<Gradient2Config>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { max_requests: 1_024, max_connections: 256, max_pending: 256, adaptive: None }
    }
}

/// What a service accepts; the inbound half of a policy, as far as it needs no identities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Inbound {
    /// Requests in flight; one more is refused at once. Default unlimited.
    pub concurrency: Option<Concurrency>,
    /// Rates, all of which must hold; at most 2. Default unlimited.
    pub rate_limits: Vec<InboundRate>,
}

/// How many requests a service works on at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Concurrency {
    /// 1 to 1,048,576. Default 256.
    pub max_in_flight: u32,
    /// A limit that follows the answer times, below `max_in_flight`. Default off.
    pub adaptive: Option<Gradient2Config>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max_in_flight: 256, adaptive: None }
    }
}

/// A rate at which a service accepts requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct InboundRate {
    /// How many per how long.
    pub rate: Rate,
    /// Most at once, 1 or more. Default the rate's count.
    #[serde(default)]
    pub burst: Option<std::num::NonZeroU32>,
    /// What has a bucket of its own. Default the service as a whole.
    #[serde(default)]
    pub per: Per,
}

impl InboundRate {
    /// A rate for the service as a whole.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, burst: None, per: Per::Service }
    }

    /// The most at once.
    #[must_use]
    pub const fn with_burst(mut self, burst: std::num::NonZeroU32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// What has a bucket of its own.
    #[must_use]
    pub fn with_per(mut self, per: Per) -> Self {
        self.per = per;
        self
    }
}

/// What has a bucket of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Per {
    /// The service as a whole.
    #[default]
    Service,
    /// Each calling service, by `x-outrigger-caller`. That name is cooperation, not authentication:
    /// whoever reaches the port may say what it likes.
    Caller,
    /// Each address that requests come from.
    ClientAddress,
    /// Each value of a header.
    Header(String),
    /// Each path, in its normal form.
    Path,
}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {value}; allowed is {allowed}")]
#[non_exhaustive]
pub struct RulesError {
    /// Which key, dotted.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl RulesError {
    fn new(key: &str, value: impl ToString, allowed: &str) -> Self {
        Self { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
    }
}

/// The adaptive limit under a fixed one: it neither starts nor grows above that.
pub(crate) fn adaptive_below(adaptive: &Gradient2Config, most: u32) -> Gradient2Config {
    let mut adaptive = adaptive.clone();
    adaptive.max = adaptive.max.min(NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN));
    adaptive.initial = adaptive.initial.min(adaptive.max);
    adaptive
}

impl Inbound {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`RulesError`] names the first key that is wrong.
    pub fn validate(&self) -> Result<(), RulesError> {
        if let Some(Concurrency { max_in_flight, adaptive }) = &self.concurrency {
            if !(1..=1_048_576).contains(max_in_flight) {
                let key = "inbound.concurrency.max_in_flight";
                return Err(RulesError::new(key, max_in_flight, "1 to 1048576"));
            }
            if let Some(adaptive) = adaptive {
                adaptive
                    .validate()
                    .and_then(|()| adaptive_below(adaptive, *max_in_flight).validate())
                    .map_err(|e| {
                        let key = format!("inbound.concurrency.{}", e.key);
                        RulesError::new(&key, e.value, e.allowed)
                    })?;
            }
        }
        if self.rate_limits.len() > 2 {
            let (key, found) = ("inbound.rate_limits", self.rate_limits.len());
            return Err(RulesError::new(key, format!("{found} entries"), "at most 2 entries"));
        }
        for rate in &self.rate_limits {
            let mut config = RateLimitConfig::new(rate.rate);
            config.burst = rate.burst;
            config
                .validate()
                .map_err(|e| RulesError::new(&format!("inbound.{}", e.key), e.value, e.allowed))?;
            if let Per::Header(name) = &rate.per
                && http::HeaderName::try_from(name).is_err()
            {
                let key = "inbound.rate_limits.per.header";
                return Err(RulesError::new(key, format!("{name:?}"), "a header's name"));
            }
        }
        Ok(())
    }
}

impl Rules {
    /// Checks every value against its range, and the values against each other.
    ///
    /// # Errors
    /// [`RulesError`] names the first key that is wrong.
    pub fn validate(&self) -> Result<(), RulesError> {
        let day = Duration::from_secs(86_400);
        if let Some(timeout) = self.timeout {
            if !(Duration::from_millis(1)..=day).contains(&timeout) {
                return Err(RulesError::new(
                    "timeout",
                    format!("{timeout:?}"),
                    "1ms to 24h, or none",
                ));
            }
            if let Some(one) = self.retry.per_try_timeout.filter(|one| *one > timeout) {
                return Err(RulesError::new(
                    "retry.per_try_timeout",
                    format!("{one:?}"),
                    &format!("at most `timeout`, which is {timeout:?}"),
                ));
            }
        }
        if let Some(idle) = self.idle_timeout
            && !(Duration::from_millis(1)..=day).contains(&idle)
        {
            let allowed = "1ms to 24h, or none";
            return Err(RulesError::new("idle_timeout", format!("{idle:?}"), allowed));
        }
        self.retry.validate().map_err(|e| RulesError::new(e.key, e.value, e.allowed))?;
        let under = |table: &str, key: &str| format!("{table}.{key}");
        self.balance
            .validate()
            .map_err(|e| RulesError::new(&under("balance", e.key), e.value, e.allowed))?;
        if self.balance.algorithm.is_hashing() {
            return Err(RulesError::new(
                "balance.algorithm",
                self.balance.algorithm.as_str(),
                "round_robin, random, least_request or peak_ewma: the hashing ones need a key, which \
                 only the layer takes (`BalanceLayer::with_hash_on`)",
            ));
        }
        if let Some(eject) = &self.eject {
            eject
                .validate()
                .map_err(|e| RulesError::new(&under("eject", e.key), e.value, e.allowed))?;
        }
        if let Some(hedge) = &self.hedge {
            hedge.validate().map_err(|e| RulesError::new(e.key, e.value, e.allowed))?;
        }
        for limit in &self.rate_limits {
            limit
                .validate()
                .map_err(|e| RulesError::new(&under("rate_limits", e.key), e.value, e.allowed))?;
        }
        if let Some(Capacity { max_requests, adaptive: Some(adaptive), .. }) = &self.capacity {
            adaptive
                .validate()
                .and_then(|()| adaptive_below(adaptive, *max_requests).validate())
                .map_err(|e| RulesError::new(&under("capacity", e.key), e.value, e.allowed))?;
        }
        if let Some(breaker) = &self.breaker {
            breaker
                .validate()
                .map_err(|e| RulesError::new(&under("breaker", e.key), e.value, e.allowed))?;
        }
        self.pool_config().validate().map_err(|e| RulesError::new(e.key, e.found, e.allowed))?;
        match &self.capacity {
            Some(capacity) if !(1..=1_048_576).contains(&capacity.max_requests) => {
                Err(RulesError::new("capacity.max_requests", capacity.max_requests, "1 to 1048576"))
            }
            _ => Ok(()),
        }
    }

    /// What of the rules concerns connections.
    pub(crate) fn pool_config(&self) -> PoolConfig {
        let mut config = PoolConfig::default();
        config.connect_timeout = self.connect_timeout;
        if let Some(capacity) = &self.capacity {
            config.max_connections = capacity.max_connections;
            config.max_pending = capacity.max_pending;
        }
        config
    }
}
