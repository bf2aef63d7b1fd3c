//! Which policy is in force for a service: files, keys, defaults, and what was saved of them.

mod choice;
mod files;
mod follow;
#[cfg(test)]
mod obeyed;
mod slot;
mod text;

use std::fmt;

use serde::Serialize;

pub(crate) use files::Files;
pub(crate) use follow::{Followed, InForce, Policies, Role};
pub(crate) use text::Loaded;

/// The name under which the policy stands that holds for services without one of their own.
pub(crate) const DEFAULT: &str = "_default";

/// Where the policy in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicySource {
    /// The service's own file.
    File,
    /// The service's own key in the registry, `outrigger/policy/<service>`.
    Kv,
    /// The file `_default` of a directory of policies.
    DefaultFile,
    /// The key `outrigger/policy/_default`.
    DefaultKv,
    /// What was in force before the last start, since nobody says anything now.
    Snapshot,
    /// No policy: what the builder, the environment and `outrigger.toml` say.
    Settings,
}

impl PolicySource {
    /// The word used in answers, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Kv => "kv",
            Self::DefaultFile => "default_file",
            Self::DefaultKv => "default_kv",
            Self::Snapshot => "snapshot",
            Self::Settings => "settings",
        }
    }
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
