//! The `retry` table.

use std::fmt;
use std::time::Duration;

use crate::{BackoffConfig, BudgetConfig, Condition, Methods};

/// When a request is sent again; the `retry` table of a policy.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RetryConfig {
    /// Tries after the first, 0 to 10; 0 switches retries off. Default 1.
    pub attempts: u8,
    /// What makes a try worth repeating. Default `connect_failure` and `refused_stream`.
    pub when: Vec<Condition>,
    /// Which requests may be sent again although an endpoint may have seen them. Default
    /// `idempotent`.
    pub methods: Methods,
    /// Time for each try, 1 ms to 1 h. Default none.
    #[cfg_attr(
        feature = "serde",
        serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")
    )]
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before another try. Default 25 ms, doubled, at most 250 ms.
    pub backoff: BackoffConfig,
    /// How many retries the destination bears. Default a fifth of the requests, and 10 a second.
    pub budget: BudgetConfig,
    /// Units: bytes. A larger body is not kept, so its request is not retried; at most 16 MiB.
    /// Default 64 KiB.
    #[cfg_attr(feature = "serde", serde(with = "byte_size"))]
    pub body_limit: usize,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 1,
            when: vec![Condition::ConnectFailure, Condition::RefusedStream],
            methods: Methods::Idempotent,
            per_try_timeout: None,
            backoff: BackoffConfig::default(),
            budget: BudgetConfig::default(),
            body_limit: 64 * 1024,
        }
    }
}

impl RetryConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the value and what is allowed: a value out of range, or a
    /// retry that no failure can trigger.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hour = Duration::from_secs(3_600);
        let ms = Duration::from_millis(1);
        if self.attempts > 10 {
            return Err(ConfigError::new("retry.attempts", self.attempts, "0 to 10"));
        }
        if self.attempts > 0 && self.when.is_empty() {
            let allowed = "at least one condition while retry.attempts is above 0";
            return Err(ConfigError::new("retry.when", "[]", allowed));
        }
        for condition in &self.when {
            if let Condition::Status(status) = condition
                && !(400..=599).contains(status)
            {
                return Err(ConfigError::new("retry.when", status, "a status from 400 to 599"));
            }
        }
        if let Some(fault) = self.methods.fault() {
            let allowed = "idempotent, all, or a list of upper-case HTTP methods and full gRPC \
                           method names such as stock.Stock/Get";
            return Err(ConfigError::new("retry.methods", fault, allowed));
        }
        if let Some(span) = self.per_try_timeout
            && !(ms..=hour).contains(&span)
        {
            let value = format!("{span:?}");
            return Err(ConfigError::new("retry.per_try_timeout", value, "1ms to 1h"));
        }
        let BackoffConfig { base, max } = self.backoff;
        if !(ms..=Duration::from_secs(60)).contains(&base) {
            return Err(ConfigError::new("retry.backoff.base", format!("{base:?}"), "1ms to 1m"));
        }
        if !(base..=Duration::from_secs(60)).contains(&max) {
            let allowed = "retry.backoff.base to 1m";
            return Err(ConfigError::new("retry.backoff.max", format!("{max:?}"), allowed));
        }
        self.budget.validate()?;
        if self.body_limit > 16 * 1024 * 1024 {
            let value = format!("{} bytes", self.body_limit);
            return Err(ConfigError::new("retry.body_limit", value, "0 to 16MiB"));
        }
        Ok(())
    }
}

/// A value that no rule can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, with dots.
    pub key: &'static str,
    /// What stands there.
    pub value: String,
    /// What may stand there.
    pub allowed: &'static str,
}

impl ConfigError {
    pub(crate) fn new(key: &'static str, value: impl fmt::Display, allowed: &'static str) -> Self {
        Self { key, value: value.to_string(), allowed }
    }
}

/// Sizes such as `64KiB`, `1MB` or a plain number of bytes.
#[cfg(feature = "serde")]
mod byte_size {
    use std::fmt;

    const UNITS: [(&str, u64); 6] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("B", 1),
    ];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: serde::Serializer>(bytes: &usize, to: S) -> Result<S::Ok, S::Error> {
        let bytes = *bytes as u64;
        let binary = UNITS[..3].iter().rev();
        match binary.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => to.collect_str(&format_args!("{}{name}", bytes / unit)),
            None => to.serialize_u64(bytes),
        }
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<usize, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64KiB")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<usize, E> {
                usize::try_from(bytes).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<usize, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (number, unit) = text.split_at(digits);
                let number: u64 = number.parse().map_err(|_| wrong())?;
                let unit = unit.trim();
                let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
                    Some((_, factor)) => *factor,
                    None if unit.is_empty() => 1,
                    None => return Err(wrong()),
                };
                let bytes = number.checked_mul(factor).ok_or_else(wrong)?;
                self.visit_u64(bytes)
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documents_and_hold() {
        let config = RetryConfig::default();
        assert_eq!(config.attempts, 1);
        assert_eq!(config.when, [Condition::ConnectFailure, Condition::RefusedStream]);
        assert_eq!(config.methods, Methods::Idempotent);
        assert_eq!(config.per_try_timeout, None);
        assert_eq!(config.backoff.base, Duration::from_millis(25));
        assert_eq!(config.backoff.max, Duration::from_millis(250));
        assert_eq!(config.body_limit, 65_536);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn what_is_out_of_range_is_named_with_key_value_and_range() {
        let wrong = |change: fn(&mut RetryConfig)| {
            let mut config = RetryConfig::default();
            change(&mut config);
            config.validate().expect_err("out of range").to_string()
        };
        assert_eq!(wrong(|c| c.attempts = 11), "retry.attempts is 11; allowed is 0 to 10");
        assert!(wrong(|c| c.when.clear()).starts_with("retry.when is []; allowed is at least one"));
        assert!(wrong(|c| c.when = vec![Condition::Status(200)]).contains("400 to 599"));
        assert_eq!(
            wrong(|c| c.per_try_timeout = Some(Duration::ZERO)),
            "retry.per_try_timeout is 0ns; allowed is 1ms to 1h"
        );
        assert!(wrong(|c| c.backoff.base = Duration::ZERO).contains("retry.backoff.base"));
        assert!(wrong(|c| c.backoff.max = Duration::from_millis(1)).contains("retry.backoff.max"));
        assert!(wrong(|c| c.body_limit = usize::MAX).contains("16MiB"));
        assert!(wrong(|c| c.methods = Methods::Listed(vec!["get".into()])).contains("is get;"));
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_table_reads_as_the_documents_write_it_and_an_unknown_key_is_refused() {
        let text = r#"{"attempts": 2, "when": ["connect_failure", "5xx", 429, "unavailable"],
            "methods": ["GET", "PUT"], "per_try_timeout": "800ms",
            "backoff": {"base": "10ms"}, "budget": {"ratio": 0.1}, "body_limit": "1MiB"}"#;
        let config: RetryConfig = serde_json::from_str(text).expect("the form of the documents");
        assert_eq!(config.when[2], Condition::Status(429));
        assert_eq!(config.per_try_timeout, Some(Duration::from_millis(800)));
        assert_eq!(config.backoff.max, Duration::from_millis(250), "what is left out is default");
        assert_eq!(config.body_limit, 1 << 20);

        let written = serde_json::to_string(&config).expect("plain data");
        let read: RetryConfig = serde_json::from_str(&written).expect("what was written");
        assert_eq!(read, config);

        for bad in [
            r#"{"attempt": 2}"#,
            r#"{"body_limit": "64 parsecs"}"#,
            r#"{"body_limit": -1}"#,
            r#"{"when": ["5XX"]}"#,
            r#"{"when": [200]}"#,
            r#"{"attempts": 300}"#,
            r#"{"budget": {"ratio": 1.5}}"#,
            r#"{"methods": "some"}"#,
        ] {
            assert!(serde_json::from_str::<RetryConfig>(bad).is_err(), "{bad}");
        }
    }
}
