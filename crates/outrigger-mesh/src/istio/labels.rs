//! How services, subsets and registry metadata are named in a cluster.

use outrigger_policy::Policy;

use crate::yaml::Map;

/// A name that resources may have: lower case, digits, `-` and `.`.
pub(crate) fn resource(name: &str) -> String {
    let changed = |c: char| if c == '_' { '-' } else { c.to_ascii_lowercase() };
    let name: String = name.chars().map(changed).collect();
    name.trim_matches(['-', '.']).to_owned()
}

/// A name that subsets may have: no dots either.
pub(crate) fn subset(name: &str) -> String {
    resource(name).replace('.', "-")
}

/// A label's value: at most 63 signs, which begins and ends with a letter or a digit.
pub(crate) fn value(text: &str) -> String {
    let changed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let text: String = text.chars().map(changed).take(63).collect();
    text.trim_matches(['-', '_', '.']).to_owned()
}

/// The labels that an instance bears which belongs to a subset.
///
/// A language and metadata are labels as they are. A tag, a range of versions and a language which
/// a label cannot spell become a label of their own, that says only that the instance belongs.
pub(crate) fn of_subset(name: &str, policy: &Policy) -> Map {
    let Some(labels) = policy.subsets.get(name) else { return Map::new() };
    let mut map = Map::new();
    if let Some(language) = &labels.language {
        map = map.with("language", value(language.as_str()));
    }
    for (key, text) in &labels.meta {
        map = map.with(value(key), value(text));
    }
    if labels.tag.is_some() || labels.version.is_some() || map.is_empty() {
        map = map.with(belongs(name), "true");
    }
    map
}

/// The label that says that an instance belongs to a subset.
pub(crate) fn belongs(name: &str) -> String {
    format!("outrigger/subset-{}", subset(name))
}
