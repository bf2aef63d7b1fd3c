//! Paths, names and the short texts of settings.

use std::time::Duration;

use outrigger_consul::{AgentAddress, ConsulConfig};
use outrigger_core::{
    InstanceId, Language, NormalPath, Protocol, Rate, Ratio, Reason, RouteName, ServiceName,
};
use outrigger_limit::{RateLimit, RateLimitConfig};
use outrigger_retry::Condition;
use outrigger_telemetry::TelemetryConfig;

/// A normal path is its own normal form, and holds nothing that two readers could read differently.
pub fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(path) = NormalPath::new(text) else { return };
    let normal = path.as_str();
    assert!(normal.starts_with('/'), "{text:?} became {normal:?}");
    assert!(normal.len() <= text.len() + 1, "it grew: {text:?} became {normal:?}");
    assert!(
        normal.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#')),
        "{normal:?}"
    );
    assert!(!normal.contains("//"), "{normal:?}");
    assert!(normal.split('/').all(|part| part != "." && part != ".."), "{normal:?}");
    for code in ["%2F", "%2f", "%5C", "%5c", "%00", "%2E", "%2e", "%41", "%7e"] {
        assert!(!normal.contains(code), "{code} in {normal:?}");
    }
    let again = NormalPath::new(normal).expect("a normal path has a normal form");
    assert_eq!(again.as_str(), normal, "of {text:?}");
    assert!(path.has_prefix("/") && path.has_prefix(normal));
    // Whatever decodes it once more must find no way out.
    let mut twice = normal.replace("%25", "%");
    twice.make_ascii_lowercase();
    let decoded = twice.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    assert!(decoded.split('/').all(|part| part != ".."), "{normal:?} decodes to {decoded:?}");
    let owned = path.clone().into_owned();
    assert_eq!(owned.as_str(), normal);
}

/// What is printed is read back as the same, and what is read lies in its bounds.
pub fn words(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(rate) = text.parse::<Rate>() {
        let printed = rate.to_string();
        assert_eq!(printed.parse(), Ok(rate), "{text:?} prints as {printed:?}");
        let span = Duration::from_millis(1)..=Duration::from_secs(86_400);
        assert!(span.contains(&rate.per()), "{text:?}");
        // Whatever may be written must also limit, or be refused with a word.
        let config = RateLimitConfig::new(rate);
        let now = tokio::time::Instant::now().into_std();
        let is_valid = config.validate().is_ok();
        assert_eq!(RateLimit::new(config, now).is_ok(), is_valid, "{text:?}");
    }
    if let Ok(ratio) = text.parse::<Ratio>() {
        assert!((0.0..=1.0).contains(&ratio.get()), "{text:?}");
        assert_eq!(ratio.to_string().parse(), Ok(ratio), "{text:?}");
    }
    if let Ok(name) = text.parse::<ServiceName>() {
        assert_eq!(name.to_string().parse(), Ok(name), "{text:?}");
    }
    if let Ok(id) = text.parse::<InstanceId>() {
        assert!(!id.as_str().chars().any(char::is_control), "{text:?}");
        assert_eq!(id.to_string().parse(), Ok(id), "{text:?}");
    }
    if let Ok(name) = text.parse::<RouteName>() {
        assert_eq!(name.to_string().parse(), Ok(name), "{text:?}");
    }
    if let Ok(condition) = text.parse::<Condition>() {
        let printed = condition.to_string();
        assert_eq!(
            printed.parse::<Condition>().ok(),
            Some(condition),
            "{text:?} prints as {printed:?}"
        );
    }
    if let Ok(address) = text.parse::<AgentAddress>() {
        let printed = address.to_string();
        assert_eq!(
            printed.parse::<AgentAddress>().ok(),
            Some(address),
            "{text:?} prints as {printed:?}"
        );
    }
    if let Some(language) = Language::parse(text) {
        assert_eq!(Language::parse(language.as_str()), Some(language), "{text:?}");
    }
    if let Some(protocol) = Protocol::parse(text) {
        assert_eq!(Protocol::parse(protocol.as_str()), Some(protocol), "{text:?}");
    }
    if let Some(reason) = Reason::parse(text) {
        assert_eq!(reason.as_str(), text, "a reason has one spelling");
    }
}

/// An environment is read or refused; what is read passes its own check. The first line chooses the
/// variable, the rest is its value.
pub fn environment(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (name, value) = text.split_once('\n').unwrap_or((text, ""));
    let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
    if !name.ends_with("FILE") && !name.contains("CERT") && !name.contains("CA") {
        if let Ok(config) = ConsulConfig::from_lookup(lookup) {
            assert!(config.validate().is_ok(), "{name}={value:?} is read and not valid");
        }
        // Refused is as good as read; to panic is not.
        let _read = TelemetryConfig::from_lookup(lookup);
    }
}
