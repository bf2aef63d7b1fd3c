//! Which instances of a service a caller wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_core::{Instance, Language};
use semver::VersionReq;

/// Why a filter cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text is no version range.
    #[error("version range {text:?} cannot be read; allowed is for example \">=2, <3\"")]
    Version {
        /// The text.
        text: Box<str>,
        /// What the parser found.
        why: Box<str>,
    },
}

/// Which instances of a service a caller wants; everything asked for must hold.
///
/// The default wants all. Applied on our side, so that callers with different filters share one
/// watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Filter {
    /// Tags that must be there, to the letter.
    pub tags: BTreeSet<Arc<str>>,
    /// Metadata that must be there, to the letter.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
    /// The language it must be written in.
    pub language: Option<Language>,
    /// The range its version must lie in. An instance without a readable version matches no range.
    pub version: Option<VersionReq>,
}

impl Filter {
    /// Wants all.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Wants a tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Wants a pair of metadata.
    #[must_use]
    pub fn with_meta(mut self, key: &str, value: &str) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Wants a language.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Wants a range of versions, in Cargo's notation.
    ///
    /// # Errors
    /// [`FilterError::Version`] for a text that is no range.
    pub fn with_version(mut self, range: &str) -> Result<Self, FilterError> {
        let range = VersionReq::parse(range).map_err(|error| FilterError::Version {
            text: range.into(),
            why: error.to_string().into(),
        })?;
        self.version = Some(range);
        Ok(self)
    }

    /// Whether everything matches.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an instance is wanted.
    #[must_use]
    pub fn matches(&self, instance: &Instance) -> bool {
        self.tags.iter().all(|tag| instance.has_tag(tag))
            && self.meta.iter().all(|(key, value)| instance.meta.get(key) == Some(value))
            && self.language.as_ref().is_none_or(|l| instance.language.as_ref() == Some(l))
            && self.version.as_ref().is_none_or(|range| {
                instance.semver().is_some_and(|version| range.matches(&version))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn instance() -> Instance {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let id = "stock-1".parse().expect("valid");
        let mut instance = Instance::new(id, "stock".parse().expect("valid"), address);
        instance.tags = vec!["blue".into(), "rust".into()];
        instance.meta.insert("rack".into(), "7".into());
        instance.language = Some(Language::Rust);
        instance.version = Some("v2.1".into());
        instance
    }

    #[test]
    fn everything_asked_for_must_hold() {
        let all = Filter::all()
            .with_tag("blue")
            .with_meta("rack", "7")
            .with_language(Language::Rust)
            .with_version(">=2, <3")
            .expect("a range");
        assert!(all.matches(&instance()));
        for one_wrong in [
            all.clone().with_tag("green"),
            all.clone().with_meta("rack", "8"),
            all.clone().with_language(Language::Go),
            all.clone().with_version("<2").expect("a range"),
        ] {
            assert!(!one_wrong.matches(&instance()), "{one_wrong:?}");
        }
        assert!(Filter::all().is_all() && Filter::all().matches(&instance()));
    }

    #[test]
    fn an_unreadable_version_is_in_no_range() {
        let mut instance = instance();
        instance.version = Some("latest".into());
        let any = Filter::all().with_version("*").expect("a range");
        assert!(!any.matches(&instance));
        instance.version = None;
        assert!(!any.matches(&instance));
    }

    #[test]
    fn a_wrong_range_is_named() {
        let error = Filter::all().with_version(">=two").expect_err("no range");
        assert!(error.to_string().contains("\">=two\""), "{error}");
    }
}
