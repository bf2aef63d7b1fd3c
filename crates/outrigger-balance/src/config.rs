//! What can be set: the `balance` and `eject` tables of a policy.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::Ratio;

/// How the endpoint of a try is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Algorithm {
    /// One after the other, each as often as its weight says.
    RoundRobin,
    /// By lot, each as likely as its weight says.
    Random,
    /// The one of two drawn by weight that has fewer requests in flight for its weight.
    LeastRequest,
    /// The one of two drawn by weight with the lower load: recent answer time, times in-flight.
    #[default]
    PeakEwma,
    /// The hash's place on a ring: when an endpoint comes or goes, only its own keys move.
    RingHash,
    /// The hash's place in a Maglev table: more even than a ring; a few other keys move too.
    Maglev,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequest,
        Self::PeakEwma,
        Self::RingHash,
        Self::Maglev,
    ];

    /// The word used in the policy, in answers and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::LeastRequest => "least_request",
            Self::PeakEwma => "peak_ewma",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
        }
    }

    /// Whether it looks at [`PickRequest::hash`](crate::PickRequest::hash).
    #[must_use]
    pub const fn is_hashing(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

/// How a newcomer's share grows: weight × max(floor, (t / window)^(1 / aggression)).
///
/// Source: Envoy's slow start, Istio's `warmup`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct SlowStart {
    /// Until the full share, 1 ms to 1 h. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub window: Duration,
    /// Shape of the ramp, 0.1 to 10: 1 is a straight line, more is quicker at first. Default 1.
    pub aggression: f64,
    /// Smallest share of the weight. Default 0.1.
    pub floor: Ratio,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::from_secs(30), aggression: 1.0, floor: Ratio::from_percent(10) }
    }
}

/// What is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Prefer {
    /// Endpoints of the caller's zone.
    #[default]
    Zone,
}

/// Whether near endpoints are preferred, and when they are not enough.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Locality {
    /// What counts as near. Default the zone; without a zone of the caller's own nothing is near.
    pub prefer: Prefer,
    /// Usable share of the near endpoints below (`<`) which traffic spills over to the others, in
    /// proportion to what is missing: at half of it one half goes elsewhere. Default 0.7.
    pub spill_below: Ratio,
}

impl Default for Locality {
    fn default() -> Self {
        Self { prefer: Prefer::Zone, spill_below: Ratio::from_percent(70) }
    }
}

/// How endpoints are chosen; the `balance` table of a policy, without `hash_on`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BalanceConfig {
    /// Default peak EWMA.
    pub algorithm: Algorithm,
    /// How a newcomer's share grows; `none` gives it its share at once. Default 30 s.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "none_or::deserialize"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_or::serialize"))]
    pub slow_start: Option<SlowStart>,
    /// Whether near endpoints are preferred; `none` treats all alike. Default: the caller's zone.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "none_or::deserialize"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_or::serialize"))]
    pub locality: Option<Locality>,
    /// Other datacenters, in order, used while none is usable before them. Default none.
    pub failover: Vec<Arc<str>>,
    /// How many endpoints one caller uses; `none` for all. Default none.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "none_or::deserialize"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "none_or::serialize"))]
    pub aperture: Option<NonZeroU32>,
    /// Usable share of all registered endpoints below (`<`) which ejection is ignored; 0 never
    /// ignores it, and never uses critical instances either. Default 0.5.
    pub panic_below: Ratio,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::PeakEwma,
            slow_start: Some(SlowStart::default()),
            locality: Some(Locality::default()),
            failover: Vec::new(),
            aperture: None,
            panic_below: Ratio::HALF,
        }
    }
}

impl BalanceConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] with the first key that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(slow) = &self.slow_start {
            within("slow_start.window", slow.window, MILLISECOND, HOUR)?;
            if !(0.1..=10.0).contains(&slow.aggression) {
                return Err(ConfigError {
                    key: "slow_start.aggression",
                    value: slow.aggression.to_string(),
                    allowed: "0.1 to 10",
                });
            }
        }
        let twice = |(at, dc): (usize, &Arc<str>)| self.failover[..at].contains(dc);
        if let Some((_, dc)) = self.failover.iter().enumerate().find(|&pair| twice(pair)) {
            return Err(ConfigError {
                key: "failover",
                value: dc.to_string(),
                allowed: "each datacenter once",
            });
        }
        Ok(())
    }
}

/// Which answers count as errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorClass {
    /// Any 5xx, timeout, reset or refusal.
    #[default]
    Server,
    /// 502, 503, 504, and what the wire did.
    Gateway,
}

/// When an endpoint is taken out and when it comes back; the `eject` table of a policy.
///
/// Source: Envoy's outlier detection, gRFC A50.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct EjectConfig {
    /// Errors in a row, at the last of which the endpoint is ejected at once. Default 5.
    pub consecutive_errors: NonZeroU32,
    /// What counts as an error. Default any server error.
    pub errors: ErrorClass,
    /// Time between the sweeps that let endpoints return and judge `success_ratio_below`, 1 ms to
    /// 1 h. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
    /// Shortest ejection; the n-th in a row lasts n times as long. 1 ms to 24 h. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub base_time: Duration,
    /// Longest ejection, `base_time` to 24 h. Default 300 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_time: Duration,
    /// Largest share of all endpoints that is ejected at once: one more is ejected only while
    /// (ejected + 1) / all `<=` this. Default 0.5.
    pub max_ejected: Ratio,
    /// Share of successes in an interval below (`<`) which an endpoint is ejected. Default off.
    pub success_ratio_below: Option<Ratio>,
    /// Answers an interval must hold before `success_ratio_below` is looked at. Default 5.
    pub min_requests: NonZeroU32,
}

impl Default for EjectConfig {
    fn default() -> Self {
        let five = NonZeroU32::MIN.saturating_add(4);
        Self {
            consecutive_errors: five,
            errors: ErrorClass::Server,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_ejected: Ratio::HALF,
            success_ratio_below: None,
            min_requests: five,
        }
    }
}

impl EjectConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] with the first key that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("interval", self.interval, MILLISECOND, HOUR)?;
        within("base_time", self.base_time, MILLISECOND, DAY)?;
        if self.max_time < self.base_time {
            return Err(ConfigError {
                key: "max_time",
                value: format!("{:?}", self.max_time),
                allowed: "base_time to 24h",
            });
        }
        within("max_time", self.max_time, MILLISECOND, DAY)
    }
}

/// A value that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {value}; allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Which key, dotted, below the table's own name.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub allowed: &'static str,
}

const MILLISECOND: (Duration, &str) = (Duration::from_millis(1), "1ms");
const HOUR: (Duration, &str) = (Duration::from_secs(3_600), "1ms to 1h");
const DAY: (Duration, &str) = (Duration::from_secs(86_400), "1ms to 24h");

fn within(
    key: &'static str,
    value: Duration,
    least: (Duration, &'static str),
    most: (Duration, &'static str),
) -> Result<(), ConfigError> {
    if (least.0..=most.0).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { key, value: format!("{value:?}"), allowed: most.1 })
}

/// Reads `none` where a value may be switched off.
#[cfg(feature = "serde")]
mod none_or {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
    use serde::{Serialize, Serializer};

    // An untagged enum would do in three lines and answer "did not match any variant" to a typing
    // error; this keeps the inner error with its key.
    struct NoneOr<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for NoneOr<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`none` or a value")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            if text == "none" {
                return Ok(None);
            }
            T::deserialize(text.into_deserializer()).map(Some)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            from.deserialize_any(self)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            T::deserialize(number.into_deserializer()).map(Some)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            T::deserialize(number.into_deserializer()).map(Some)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    pub(super) fn deserialize<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        from.deserialize_any(NoneOr(PhantomData))
    }

    pub(super) fn serialize<S, T>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize,
    {
        match value {
            Some(value) => value.serialize(to),
            None => to.serialize_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(BalanceConfig::default().validate(), Ok(()));
        assert_eq!(EjectConfig::default().validate(), Ok(()));
    }

    #[test]
    fn an_error_names_the_key_the_value_and_what_is_allowed() {
        let eject = EjectConfig { interval: Duration::ZERO, ..EjectConfig::default() };
        let error = eject.validate().expect_err("out of range").to_string();
        assert_eq!(error, "`interval` is 0ns; allowed is 1ms to 1h");
        let eject = EjectConfig { max_time: Duration::from_secs(29), ..EjectConfig::default() };
        let error = eject.validate().expect_err("below the base").to_string();
        assert_eq!(error, "`max_time` is 29s; allowed is base_time to 24h");

        let mut balance = BalanceConfig::default();
        for aggression in [0.0, -1.0, f64::NAN, f64::INFINITY, 10.1] {
            balance.slow_start = Some(SlowStart { aggression, ..SlowStart::default() });
            let error = balance.validate().expect_err("out of range");
            assert_eq!((error.key, error.allowed), ("slow_start.aggression", "0.1 to 10"));
        }
        balance.slow_start = None;
        balance.failover = vec!["a".into(), "b".into(), "a".into()];
        assert_eq!(balance.validate().expect_err("twice").key, "failover");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_policys_own_text_is_read_and_unknown_keys_are_not() {
        let balance: BalanceConfig = serde_json::from_str(
            r#"{"algorithm":"least_request",
                "slow_start":{"window":"10s","aggression":2.0},
                "locality":{"prefer":"zone","spill_below":0.5},
                "failover":["dc2","dc3"],"aperture":12,"panic_below":0.25}"#,
        )
        .expect("valid");
        assert_eq!(balance.algorithm, Algorithm::LeastRequest);
        let slow = balance.slow_start.expect("on");
        assert_eq!((slow.window, slow.floor), (Duration::from_secs(10), Ratio::from_percent(10)));
        assert_eq!(balance.aperture, NonZeroU32::new(12));
        let eject: EjectConfig = serde_json::from_str(
            r#"{"consecutive_errors":3,"errors":"gateway","interval":"500ms","base_time":"1s",
                "max_time":"1m","max_ejected":0.34,"success_ratio_below":0.8,"min_requests":9}"#,
        )
        .expect("valid");
        assert_eq!(
            (eject.errors, eject.interval),
            (ErrorClass::Gateway, Duration::from_millis(500))
        );
        for (text, key) in [
            (r#"{"algoritm":"random"}"#, "algoritm"),
            (r#"{"slow_start":{"windw":"1s"}}"#, "windw"),
            (r#"{"aperture":0}"#, "zero"),
            (r#"{"panic_below":1.5}"#, "1.5"),
            (r#"{"locality":"always"}"#, "always"),
        ] {
            let error = serde_json::from_str::<BalanceConfig>(text).expect_err(text).to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn what_may_be_switched_off_is_switched_off_by_none_and_written_back() {
        let text = r#"{"slow_start":"none","locality":"none","aperture":"none"}"#;
        let balance: BalanceConfig = serde_json::from_str(text).expect("valid");
        assert_eq!((balance.slow_start, balance.locality, balance.aperture), (None, None, None));
        for balance in [balance, BalanceConfig::default()] {
            let text = serde_json::to_string(&balance).expect("writes");
            assert_eq!(serde_json::from_str::<BalanceConfig>(&text).expect(&text), balance);
        }
    }
}
