//! Where a value comes from.

use std::fmt;

use outrigger_policy::Place;
use serde_json::{Value as Json, json};

/// Where a value comes from; earlier ones win.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A flag of the command line, by its name without dashes.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
    /// A place in the configuration file.
    File(Place),
    /// Something in the project that was looked at, such as `package.json`.
    Project(String),
    /// Nobody said anything; why it is this value, where that is not plain.
    Default(&'static str),
}

impl Origin {
    /// The word for it in documents.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Variable(_) => "variable",
            Self::File(_) => "file",
            Self::Project(_) => "project",
            Self::Default(_) => "default",
        }
    }

    /// Whether somebody named the value, rather than we chose it.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        matches!(self, Self::Flag(_) | Self::Variable(_) | Self::File(_))
    }

    /// Flag, variable, place or file; empty for a default.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Flag(flag) => format!("--{flag}"),
            Self::Variable(name) => name.clone(),
            Self::File(place) => place.to_string(),
            Self::Project(what) => what.clone(),
            Self::Default(_) => String::new(),
        }
    }

    pub(super) fn to_json(&self, value: &Json) -> Json {
        match self {
            Self::Default(why) => json!({"value": value, "origin": "default", "why": why}),
            _ => json!({"value": value, "origin": self.as_str(), "place": self.place()}),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(what) => write!(f, "guessed: {what}"),
            Self::Default("") => f.write_str("default"),
            Self::Default(why) => write!(f, "default: {why}"),
            _ => f.write_str(&self.place()),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    pub(crate) const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    pub(super) const fn default(value: T, why: &'static str) -> Self {
        Self { value, origin: Origin::Default(why) }
    }

    pub(super) fn map<U>(self, of: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: of(self.value), origin: self.origin }
    }
}
