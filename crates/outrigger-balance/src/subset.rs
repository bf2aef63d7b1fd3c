//! Which instances share labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::{Instance, Language};
use semver::VersionReq;

/// The instances that share labels; an entry of a policy's `subsets` table.
///
/// Shape: an instance belongs to it when everything that is given applies to it; with nothing
/// given, each does. A version requirement is met only by an instance whose version can be read as
/// a semantic version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Subset {
    /// Written in this language.
    pub language: Option<Language>,
    /// Of a version in this range.
    #[cfg_attr(feature = "serde", serde(with = "range"))]
    pub version: Option<VersionReq>,
    /// With this tag, to the letter.
    pub tag: Option<Arc<str>>,
    /// With these metadata, to the letter.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
}

impl Subset {
    /// A name that says what it is made of: the same for equal subsets, another for others.
    ///
    /// Under it a set can hold the subsets of two policies during a reload: equal ones share a
    /// place, and one that only kept its name in the policy is told apart.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        let range = self.version.as_ref().map(ToString::to_string);
        let Self { language, tag, meta, .. } = self;
        format!("{:?} {range:?} {tag:?} {meta:?}", language.as_ref().map(ToString::to_string))
            .into()
    }

    /// Whether an instance belongs to it.
    #[must_use]
    pub fn contains(&self, instance: &Instance) -> bool {
        self.language.as_ref().is_none_or(|wanted| instance.language.as_ref() == Some(wanted))
            && self.tag.as_ref().is_none_or(|tag| instance.has_tag(tag))
            && self.meta.iter().all(|(key, value)| instance.meta.get(key) == Some(value))
            && self
                .version
                .as_ref()
                .is_none_or(|range| instance.semver().is_some_and(|v| range.matches(&v)))
    }
}

/// A version range as text, so that semver's own serde support is not needed.
#[cfg(feature = "serde")]
mod range {
    use std::borrow::Cow;

    use semver::VersionReq;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<VersionReq>, D::Error> {
        let text = <Option<Cow<'de, str>>>::deserialize(from)?;
        text.map(|text| VersionReq::parse(&text).map_err(D::Error::custom)).transpose()
    }

    pub(super) fn serialize<S: Serializer>(
        range: &Option<VersionReq>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        range.as_ref().map(ToString::to_string).serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_subsets_have_one_key_and_others_another() {
        let made =
            |language: Option<Language>, range: &str, tag: Option<&str>, meta: &[(&str, &str)]| {
                Subset {
                    language,
                    version: VersionReq::parse(range).ok(),
                    tag: tag.map(Into::into),
                    meta: meta.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
                }
            };
        let one = made(Some(Language::Rust), ">=2", Some("a"), &[("k", "v"), ("l", "w")]);
        let same = made(Some(Language::Rust), ">= 2", Some("a"), &[("l", "w"), ("k", "v")]);
        assert_eq!(one.key(), same.key());
        let others = [
            made(None, ">=2", Some("a"), &[("k", "v"), ("l", "w")]),
            made(Some(Language::Rust), ">=3", Some("a"), &[("k", "v"), ("l", "w")]),
            made(Some(Language::Rust), ">=2", None, &[("k", "v"), ("l", "w")]),
            made(Some(Language::Rust), ">=2", Some("a"), &[("k", "v, l: w")]),
            Subset::default(),
        ];
        for (n, other) in others.iter().enumerate() {
            assert_ne!(one.key(), other.key(), "{n}");
        }
    }
}
