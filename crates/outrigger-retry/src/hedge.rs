//! A second try while the first is still running.

use std::time::Duration;

use http::Method;

use crate::{ConfigError, Methods};

/// A second try while the first is still running; the `hedge` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct HedgeConfig {
    /// How long a try runs before another joins it, 1 ms to 1 min. Default 80 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub after: Duration,
    /// Most tries that join the first, 1 to 3. Default 1.
    pub max: u8,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { after: Duration::from_millis(80), max: 1 }
    }
}

impl HedgeConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] names key, value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let minute = Duration::from_secs(60);
        if !(Duration::from_millis(1)..=minute).contains(&self.after) {
            return Err(ConfigError::new("hedge.after", format!("{:?}", self.after), "1ms to 1m"));
        }
        if !(1..=3).contains(&self.max) {
            return Err(ConfigError::new("hedge.max", self.max, "1 to 3"));
        }
        Ok(())
    }
}

/// When a hedge is sent, compiled.
#[derive(Clone, Debug)]
pub struct HedgeRule {
    config: HedgeConfig,
    methods: Methods,
}

impl HedgeRule {
    /// A rule; `methods` are those of `retry`, for a hedge delivers a request twice on purpose.
    ///
    /// # Errors
    /// [`ConfigError`] for a value out of range.
    pub fn new(config: &HedgeConfig, methods: &Methods) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config: *config, methods: methods.clone() })
    }

    /// How long to wait for the next hedge after `hedges` were sent; `None` when none may follow.
    ///
    /// A hedge counts as a retry: a request that was retried above (`above >= 1`) gets none.
    #[must_use]
    pub fn wait(&self, method: &Method, path: &str, above: u8, hedges: u8) -> Option<Duration> {
        let may = above == 0 && hedges < self.config.max && self.methods.allow(method, path);
        may.then_some(self.config.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_may_be_delivered_twice_and_was_not_retried_is_hedged() {
        let rule =
            HedgeRule::new(&HedgeConfig::default(), &Methods::Idempotent).expect("defaults hold");
        let after = Some(Duration::from_millis(80));
        assert_eq!(rule.wait(&Method::GET, "/", 0, 0), after);
        assert_eq!(rule.wait(&Method::GET, "/", 0, 1), None, "one hedge is the default");
        assert_eq!(rule.wait(&Method::GET, "/", 1, 0), None, "retried above");
        assert_eq!(rule.wait(&Method::POST, "/", 0, 0), None, "not idempotent");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let config = HedgeConfig { max: 9, ..HedgeConfig::default() };
        let error = HedgeRule::new(&config, &Methods::All).expect_err("9 hedges").to_string();
        assert_eq!(error, "hedge.max is 9; allowed is 1 to 3");
    }
}
