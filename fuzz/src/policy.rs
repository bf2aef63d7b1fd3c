//! The policy file.

use http::{HeaderMap, Method};
use outrigger_policy::{Format, Plan, Policy};

/// In every format: what is refused says where, in few words; what is read compiles, routes anything,
/// and is read again as the same.
pub fn file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for format in [Format::Yaml, Format::Json, Format::Toml] {
        let parsed = match Policy::parse("fuzz", text, format) {
            Ok(parsed) => parsed,
            Err(report) => {
                assert!(report.errors().next().is_some(), "refused without a reason: {text:?}");
                for finding in report.findings() {
                    let span = &finding.place.span;
                    assert!(
                        span.start <= span.end && span.end <= text.len(),
                        "{span:?} in {text:?}"
                    );
                    assert!(finding.place.line <= text.lines().count() + 1, "{finding:?}");
                    assert!(!finding.message.is_empty(), "{finding:?}");
                }
                assert!(report.to_string().len() < 256 << 10, "the message is too long");
                continue;
            }
        };
        assert_eq!(parsed.text(), text);
        let plan = Plan::compile(&parsed.policy);
        for path in ["/", "/v2/stock", "/a%20b/..", "nothing"] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                let _route = plan.route(&method, path, Some("a=1&b"), &HeaderMap::new());
            }
        }
        let again = Policy::parse("fuzz", text, format).expect("read once, read again");
        assert_eq!(again.version, parsed.version);
    }
}
