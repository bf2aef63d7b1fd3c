use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_core::Ratio;

use crate::{BreakerConfig, Mode, SlowCall, Window};

#[test]
fn the_defaults_are_those_of_the_policy_page() {
    let config = BreakerConfig::default();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.failure_ratio.get(), 0.5);
    assert_eq!((config.slow_call, config.consecutive_failures), (None, None));
    assert_eq!(config.window, Window::Time(Duration::from_secs(10)));
    assert_eq!((config.min_calls.get(), config.probes.get()), (20, 3));
    assert_eq!(config.open_for, Duration::from_secs(5));
    assert_eq!(config.max_open_for, Duration::from_secs(60));
    assert_eq!(config.jitter.get(), 0.1);
    assert_eq!(config.probe_lease, Duration::from_secs(15));
    assert_eq!(config.max_half_open, Duration::from_secs(60));
}

#[test]
fn a_value_out_of_range_is_named_with_what_is_allowed() {
    let number = |n| NonZeroU32::new(n).expect("not zero");
    let ok = BreakerConfig::default;
    let slow = |after, ratio| Some(SlowCall { after, ratio });
    let second = Duration::from_secs(1);
    let bad = [
        ("failure_ratio", BreakerConfig { failure_ratio: Ratio::ZERO, ..ok() }),
        ("slow_call.after", BreakerConfig { slow_call: slow(Duration::ZERO, Ratio::ONE), ..ok() }),
        ("slow_call.ratio", BreakerConfig { slow_call: slow(second, Ratio::ZERO), ..ok() }),
        ("window", BreakerConfig { window: Window::Time(second / 2), ..ok() }),
        ("window", BreakerConfig { window: Window::Time(second * 3_601), ..ok() }),
        ("window", BreakerConfig { window: Window::Calls(number(65_537)), ..ok() }),
        ("min_calls", BreakerConfig { window: Window::Calls(number(19)), ..ok() }),
        ("open_for", BreakerConfig { open_for: Duration::ZERO, ..ok() }),
        ("max_open_for", BreakerConfig { max_open_for: second, ..ok() }),
        ("probes", BreakerConfig { probes: number(1_001), ..ok() }),
        ("probe_lease", BreakerConfig { probe_lease: Duration::ZERO, ..ok() }),
        ("max_half_open", BreakerConfig { max_half_open: second, ..ok() }),
    ];
    for (key, config) in bad {
        let error = config.validate().expect_err(key);
        assert_eq!(error.key, key);
        let text = error.to_string();
        assert!(text.contains(&error.value) && text.contains(error.allowed), "{text}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_window_is_written_as_a_duration_or_as_a_number_of_calls() {
    let read = |text: &str| serde_json::from_str::<BreakerConfig>(text);
    let window = |text| read(text).map(|config| config.window).map_err(|error| error.to_string());
    assert_eq!(window(r#"{"window": "30s"}"#), Ok(Window::Time(Duration::from_secs(30))));
    let hundred = NonZeroU32::new(100).expect("not zero");
    assert_eq!(window(r#"{"window": 100}"#), Ok(Window::Calls(hundred)));
    for bad in [r#"{"window": 0}"#, r#"{"window": -1}"#, r#"{"window": "ten"}"#, r#"{"wndow": 1}"#]
    {
        assert!(window(bad).is_err(), "{bad}");
    }
    let all = r#"{"mode": "observe", "slow_call": {"after": "1s", "ratio": 0.8}, "probes": 5}"#;
    let config = read(all).expect("valid");
    let back = serde_json::to_string(&config).expect("writable");
    assert_eq!(read(&back).expect("readable"), config, "{back}");
}
