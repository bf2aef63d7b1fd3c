//! When a circuit opens and how it recovers.

use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_core::Ratio;

/// When a circuit opens and how it recovers; the `breaker` section of a policy.
///
/// The circuit opens when the window holds at least `min_calls` and the share of failed or of slow
/// calls in it reaches its ratio, or after `consecutive_failures` in a row. It is looked at with
/// each outcome that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BreakerConfig {
    /// Whether the circuit's verdict is obeyed. Default [`Mode::Enforce`].
    pub mode: Mode,
    /// Share of failed calls in `window` that opens the circuit, above 0. Compared with `>=`.
    /// Default 0.5.
    pub failure_ratio: Ratio,
    /// What counts as slow, and the share that opens the circuit. Default none.
    pub slow_call: Option<SlowCall>,
    /// Failures in a row that open the circuit, however few calls there were. Default none.
    pub consecutive_failures: Option<NonZeroU32>,
    /// The calls that are looked at: those of the last 1 s to 1 h, or the last 1 to 65,536.
    /// Default 10 s.
    pub window: Window,
    /// Calls `window` must hold before a ratio is looked at. Default 20.
    pub min_calls: NonZeroU32,
    /// Time from the trip to the first probe, 1 ms to 1 h; each failed probe doubles it, up to
    /// `max_open_for`. Default 5 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub open_for: Duration,
    /// Longest open time before jitter, `open_for` to 24 h. Default 60 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_open_for: Duration,
    /// Largest part by which an open time is lengthened, so that many callers do not probe at the
    /// same instant. Default 0.1.
    pub jitter: Ratio,
    /// Probes in half-open, 1 to 1,000; when all of them succeeded the circuit closes. Default 3.
    pub probes: NonZeroU32,
    /// Time after which a probe without an outcome loses its place to another call, 1 ms to 1 h. A
    /// late outcome still counts. Default 15 s, the default timeout of a request.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub probe_lease: Duration,
    /// Longest stay in half-open, `probe_lease` to 24 h. After it the circuit closes if a probe
    /// succeeded and none is under way, else it opens for as long as the last time. Default 60 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_half_open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            failure_ratio: Ratio::HALF,
            slow_call: None,
            consecutive_failures: None,
            window: Window::Time(Duration::from_secs(10)),
            min_calls: at_least_one(20),
            open_for: Duration::from_secs(5),
            max_open_for: Duration::from_secs(60),
            jitter: Ratio::from_percent(10),
            probes: at_least_one(3),
            probe_lease: Duration::from_secs(15),
            max_half_open: Duration::from_secs(60),
        }
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// Whether a circuit's verdict is obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Mode {
    /// An open circuit rejects.
    #[default]
    Enforce,
    /// Counts, changes state and tells, and admits every call all the same.
    Observe,
    /// Rejects every call, whatever the outcomes.
    ForcedOpen,
    /// Admits every call and counts nothing.
    Disabled,
}

impl Mode {
    /// Whether outcomes change the state.
    pub(crate) const fn is_judging(self) -> bool {
        matches!(self, Self::Enforce | Self::Observe)
    }
}

/// Which calls are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "by time or by count; there is no third way")]
pub enum Window {
    /// Those of so long a time, in 16 slices: a call leaves the window between 15/16 of the time
    /// and the whole of it after its outcome.
    Time(Duration),
    /// The last so many.
    Calls(NonZeroU32),
}

/// What counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[expect(clippy::exhaustive_structs, reason = "a pair that is written down by hand")]
pub struct SlowCall {
    /// A call that took as long as this, or longer, is slow, whatever its outcome; 1 ms to 1 h.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub after: Duration,
    /// Share of slow calls in the window that opens the circuit, above 0. Compared with `>=`.
    pub ratio: Ratio,
}

/// A value of a [`BreakerConfig`] that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("breaker.{key} = {value} is out of range; allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, with dots.
    pub key: &'static str,
    /// The value that was given.
    pub value: String,
    /// What is allowed.
    pub allowed: &'static str,
}

impl BreakerConfig {
    /// Most calls that a window by count holds.
    pub const MAX_WINDOW_CALLS: u32 = 65_536;
    /// Most probes.
    pub const MAX_PROBES: u32 = 1_000;

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is out of range and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const HOUR: Duration = Duration::from_secs(3_600);
        const DAY: Duration = Duration::from_secs(86_400);
        const MILLI: Duration = Duration::from_millis(1);

        share("failure_ratio", self.failure_ratio)?;
        if let Some(slow) = self.slow_call {
            span("slow_call.after", slow.after, MILLI, HOUR, "1ms to 1h")?;
            share("slow_call.ratio", slow.ratio)?;
        }
        match self.window {
            Window::Time(length) => {
                span("window", length, Duration::from_secs(1), HOUR, "1s to 1h")?;
            }
            Window::Calls(calls) => {
                count("window", calls, Self::MAX_WINDOW_CALLS, "1 to 65536 calls")?;
                if self.min_calls > calls {
                    return Err(ConfigError {
                        key: "min_calls",
                        value: self.min_calls.to_string(),
                        allowed: "1 to the calls of the window",
                    });
                }
            }
        }
        span("open_for", self.open_for, MILLI, HOUR, "1ms to 1h")?;
        span("max_open_for", self.max_open_for, self.open_for, DAY, "open_for to 24h")?;
        count("probes", self.probes, Self::MAX_PROBES, "1 to 1000")?;
        span("probe_lease", self.probe_lease, MILLI, HOUR, "1ms to 1h")?;
        span("max_half_open", self.max_half_open, self.probe_lease, DAY, "probe_lease to 24h")
    }
}

fn share(key: &'static str, ratio: Ratio) -> Result<(), ConfigError> {
    if ratio > Ratio::ZERO {
        return Ok(());
    }
    Err(ConfigError { key, value: ratio.to_string(), allowed: "above 0, up to 1" })
}

fn span(
    key: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { key, value: format!("{value:?}"), allowed })
}

fn count(
    key: &'static str,
    value: NonZeroU32,
    max: u32,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if value.get() <= max {
        return Ok(());
    }
    Err(ConfigError { key, value: value.to_string(), allowed })
}

/// Written as a duration, `10s`, or as a number of calls, `100`.
#[cfg(feature = "serde")]
impl serde::Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(length) => humantime_serde::serialize(length, to),
            Self::Calls(calls) => calls.serialize(to),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl serde::de::Visitor<'_> for Either {
            type Value = Window;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as \"10s\" or a number of calls such as 100")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Window, E> {
                let text = serde::de::value::StrDeserializer::new(text);
                humantime_serde::deserialize(text).map(Window::Time)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Window, E> {
                let calls = u32::try_from(number).ok().and_then(NonZeroU32::new);
                calls
                    .map(Window::Calls)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Window, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
                }
            }
        }

        from.deserialize_any(Either)
    }
}
