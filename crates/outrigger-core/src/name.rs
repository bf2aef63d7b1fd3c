//! Names that are safe to put into a URL, a header, a log line and a metric label.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("a {kind} name is not empty")]
    Empty {
        /// What was to be named.
        kind: &'static str,
    },
    /// The text is longer than allowed.
    #[error("a {kind} name has at most {max} bytes, this one has {len}")]
    TooLong {
        /// What was to be named.
        kind: &'static str,
        /// Bytes in the text.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The text holds a character that a name does not hold.
    #[error("a {kind} name may not contain {found:?} (byte {at}); allowed are {allowed}")]
    Forbidden {
        /// What was to be named.
        kind: &'static str,
        /// The offending character.
        found: char,
        /// Its byte offset.
        at: usize,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The text is `.` or `..`, which a URL swallows.
    #[error("a {kind} name may not be `.` or `..`")]
    Dots {
        /// What was to be named.
        kind: &'static str,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident($text:ty), $kind:literal, $max:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($text);

        impl $name {
            /// Most bytes a name of this kind has.
            pub const MAX_LEN: usize = $max;

            /// Checks a text and makes it a name.
            ///
            /// # Errors
            /// Whatever of [`NameError`] applies; the caller can only ask for another name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty { kind: $kind });
                }
                if text.len() > $max {
                    return Err(NameError::TooLong { kind: $kind, len: text.len(), max: $max });
                }
                if text == "." || text == ".." {
                    return Err(NameError::Dots { kind: $kind });
                }
                let allowed: fn(char) -> bool = $ok;
                if let Some((at, found)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
                    return Err(NameError::Forbidden { kind: $kind, found, at, allowed: $allowed });
                }
                Ok(Self(<$text>::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // `Hash` and `Eq` go through the text, so a map keyed by the name answers to `&str`.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// What callers ask for by name.
    ///
    /// Shape: 1 to 128 ASCII letters, digits, `-`, `_` and `.`; never `.` or `..`. Compared as
    /// written, as Consul's HTTP API does. Consul itself takes more; a name beyond this cannot be
    /// a host in a URL, so no caller could ask for it.
    ServiceName(Arc<str>), "service", 128, "ASCII letters, digits, `-`, `_` and `.`",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

name! {
    /// One route of a service's policy; `default` where there is none.
    RouteName(RouteText), "route", 64, "ASCII letters, digits, `-`, `_` and `.`",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

name! {
    /// The registry's id of one instance: unique per agent only, whatever another client chose.
    ///
    /// Shape: 1 to 512 bytes without control characters; never put into a path unencoded.
    InstanceId(Arc<str>), "instance", 512, "anything but control characters",
    |c| !c.is_control()
}

impl Default for RouteName {
    fn default() -> Self {
        Self(RouteText(None))
    }
}

/// The text of a route's name; `None` for `default`.
///
/// Each request has a route's name, and most have this one: counted in one place by all threads,
/// it would be what they wait for.
#[derive(Clone)]
struct RouteText(Option<Arc<str>>);

const DEFAULT_ROUTE: &str = "default";

impl From<&str> for RouteText {
    fn from(text: &str) -> Self {
        Self((text != DEFAULT_ROUTE).then(|| Arc::from(text)))
    }
}

impl Deref for RouteText {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT_ROUTE)
    }
}

impl PartialEq for RouteText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for RouteText {}

impl PartialOrd for RouteText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RouteText {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for RouteText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_the_one_that_is_named_default() {
        let named = RouteName::new("default").expect("valid");
        assert_eq!((named.clone(), named.as_str()), (RouteName::default(), "default"));
        let known = std::collections::HashMap::from([(RouteName::default(), 1)]);
        assert_eq!((known.get("default"), known.get(&named)), (Some(&1), Some(&1)));
        let mut names =
            [RouteName::new("e").expect("valid"), named, RouteName::new("a").expect("valid")];
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["a", "default", "e"], "by their text");
    }

    #[test]
    fn a_service_name_cannot_change_a_request_path() {
        for bad in ["", ".", "..", "a/b", "a b", "a\n", "é", "a%2f", "a?b", "a#b", "a@b", "a:1"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(ServiceName::new(&"a".repeat(128)).is_ok(), "128 bytes are allowed");
        assert!(ServiceName::new(&"a".repeat(129)).is_err(), "129 bytes are not");
    }

    #[test]
    fn the_error_names_the_character_its_place_and_what_is_allowed() {
        let error = ServiceName::new("stock/eu").expect_err("a slash is refused");
        assert_eq!(
            error.to_string(),
            "a service name may not contain '/' (byte 5); allowed are ASCII letters, digits, `-`, \
             `_` and `.`"
        );
    }

    #[test]
    fn a_map_keyed_by_a_name_answers_to_plain_text() {
        let map = std::collections::HashMap::from([(ServiceName::new("a").expect("valid"), 1)]);
        assert_eq!(map.get("a"), Some(&1));
    }
}
