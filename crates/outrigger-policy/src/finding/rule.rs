//! The rules that findings come from, by names that do not change.

use std::fmt;

/// Whether a file is refused for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// The file is refused.
    Error,
    /// Legal and unwise.
    Warning,
}

impl Severity {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $severity:ident;)+) => {
        /// A rule that a file must keep.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its id, which does not change.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => concat!("policy::", $id)),+ }
            }

            /// What it holds against a file.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+)),+ }
            }

            /// How a finding of it is taken, unless warnings are denied.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),+ }
            }
        }
    };
}

rules! {
    /// The text is not YAML, JSON or TOML.
    Syntax = "syntax", Error;
    /// The text is too large, too deep or has too many values.
    Limit = "limit", Error;
    /// An anchor, an alias or a merge key: a small text could stand for an endless one.
    Alias = "alias", Error;
    /// A tag such as `!!int`.
    Tag = "tag", Error;
    /// More than one document in a file.
    Documents = "documents", Error;
    /// A key that stands twice.
    DuplicateKey = "duplicate_key", Error;
    /// A key that does not exist here.
    UnknownKey = "unknown_key", Error;
    /// A key that must be there.
    MissingKey = "missing_key", Error;
    /// A value of another kind, such as a list instead of a number.
    Type = "type", Error;
    /// A value that is out of its range, or not of the form that is wanted.
    Value = "value", Error;
    /// A word that readers of YAML 1.1 take for true or false.
    YamlTrap = "yaml_trap", Error;
    /// A file of another version than this reader's.
    Version = "version", Error;
    /// A name of a subset that `subsets` does not have.
    DanglingSubset = "dangling_subset", Error;
    /// A route, rate or rule that no request can reach, since earlier ones take all of them.
    Unreachable = "unreachable_route", Error;
    /// Two entries of one name.
    DuplicateName = "duplicate_name", Error;
    /// A per-try timeout above the timeout.
    PerTryTimeout = "per_try_timeout", Error;
    /// A retry or hedge that nothing can trigger.
    RetryNever = "retry_never", Error;
    /// A per-try timeout, a wait before a hedge or a delay that another time makes pointless.
    TimeNeverReached = "time_never_reached", Error;
    /// Weights that do not sum to 100.
    Weights = "weights", Error;
    /// A retry budget of zero with attempts above zero.
    BudgetZero = "budget_zero", Error;
    /// A hashing algorithm without anything to hash.
    HashWithoutKey = "hash_without_key", Error;
    /// A header that may not be edited.
    ReservedHeader = "reserved_header", Error;
    /// A value that contradicts another one.
    Contradiction = "contradiction", Error;
    /// Something to hash with an algorithm that does not look at it.
    UnusedKey = "unused_key", Warning;
    /// A subset that no route uses.
    UnusedSubset = "unused_subset", Warning;
    /// Retries of methods that are not idempotent.
    RetryUnsafe = "retry_unsafe", Warning;
    /// No timeout.
    NoTimeout = "no_timeout", Warning;
    /// `max_ejected: 1.0`: one bad deploy takes every endpoint out.
    EjectAll = "eject_all", Warning;
    /// A breaker's window shorter than its slow-call limit.
    WindowTooShort = "window_too_short", Warning;
    /// Retries that may not fit into the timeout.
    RetriesCutShort = "retries_cut_short", Warning;
    /// A retry budget above half a retry per request.
    BudgetWide = "budget_wide", Warning;
    /// A fault that hits every request.
    FaultForAll = "fault_for_all", Warning;
    /// A rule that lets everybody in.
    AuthorizeAll = "authorize_all", Warning;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl std::str::FromStr for Rule {
    type Err = UnknownRule;

    /// Reads an id, with or without `policy::`.
    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let bare = text.strip_prefix("policy::").unwrap_or(text);
        let found = Self::ALL.iter().find(|rule| rule.id().strip_prefix("policy::") == Some(bare));
        found.copied().ok_or_else(|| UnknownRule(text.chars().take(64).collect()))
    }
}

/// A text that is not the id of a [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule {0:?}")]
pub struct UnknownRule(String);
