//! The values of flags: whose policy, which rule, which version.

use std::str::FromStr;

use outrigger::core::{PolicyVersion, ServiceName};
use outrigger_policy::{Rule, Severity};

/// Whose policy: a service's, or the fleet's `_default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The fleet's default.
    Default,
    /// A service.
    Service(ServiceName),
}

impl Target {
    /// As it stands in the registry's key.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Default => "_default",
            Self::Service(name) => name.as_str(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "_default" {
            return Ok(Self::Default);
        }
        // Callers ask for a service without regard to case, and a key has one.
        let folded = ServiceName::new(&text.to_ascii_lowercase());
        folded.map(Self::Service).map_err(|error| error.to_string())
    }
}

/// One rule, or all of those that warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleChoice {
    /// Every warning.
    Warnings,
    /// One rule.
    One(Rule),
}

impl FromStr for RuleChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "warnings" {
            return Ok(Self::Warnings);
        }
        text.parse().map(Self::One).map_err(|_| {
            let names: Vec<_> = warnings().map(bare).collect();
            format!("no such rule; there are `warnings` for all, and {}", names.join(", "))
        })
    }
}

/// A rule that may be left out.
pub(super) fn allowable(text: &str) -> Result<RuleChoice, String> {
    match text.parse()? {
        RuleChoice::One(rule) if rule.severity() == Severity::Error => {
            let names: Vec<_> = warnings().map(bare).collect();
            Err(format!("it is an error; only warnings can be left out: {}", names.join(", ")))
        }
        choice => Ok(choice),
    }
}

fn warnings() -> impl Iterator<Item = Rule> {
    Rule::ALL.iter().copied().filter(|rule| rule.severity() == Severity::Warning)
}

fn bare(rule: Rule) -> &'static str {
    rule.id().trim_start_matches("policy::")
}

/// A version, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionPrefix(Box<str>);

impl VersionPrefix {
    /// Whether it means this version.
    pub(crate) fn means(&self, version: PolicyVersion) -> bool {
        format!("{:012x}", version.0).starts_with(&*self.0)
    }
}

impl std::fmt::Display for VersionPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VersionPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let fits = (4..=12).contains(&lower.len()) && lower.bytes().all(|b| b.is_ascii_hexdigit());
        if fits {
            Ok(Self(lower.into()))
        } else {
            Err("a version has 12 hex digits, such as 3f2a9c07d1e4; its first 4 are enough"
                .to_owned())
        }
    }
}

/// What a push expects to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: there is no policy yet, or it was removed.
    None,
    /// This version.
    Version(VersionPrefix),
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Version(version) => version.fmt(f),
        }
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            version => version
                .parse()
                .map(Self::Version)
                .map_err(|error: String| format!("{error}; `none` stands for no policy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_shortened_to_four_digits() {
        let prefix: VersionPrefix = "3F2a".parse().expect("a prefix");
        assert!(prefix.means(PolicyVersion(0x3f2a_9c07_d1e4)));
        assert!(!prefix.means(PolicyVersion(0x03f2_a9c0_7d1e)), "leading zeros count");
        for bad in ["3f2", "3f2a9c07d1e40", "3f2g", "#3", ""] {
            assert!(bad.parse::<VersionPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_warnings_can_be_left_out() {
        assert_eq!(allowable("no_timeout"), Ok(RuleChoice::One(Rule::NoTimeout)));
        assert_eq!(allowable("warnings"), Ok(RuleChoice::Warnings));
        assert!(allowable("unknown_key").is_err_and(|text| text.contains("no_timeout")));
        assert!("no_timeuot".parse::<RuleChoice>().is_err_and(|text| text.contains("no_timeout")));
    }

    #[test]
    fn a_target_is_a_service_or_the_default() {
        assert_eq!("_default".parse(), Ok(Target::Default));
        assert_eq!("inventory".parse::<Target>().expect("a service").as_str(), "inventory");
        assert!("a/b".parse::<Target>().is_err(), "it would be another key");
    }
}
