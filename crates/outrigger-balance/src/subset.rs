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
