//! Who may call.

use std::fmt;
use std::sync::Arc;

use http::Method;
use outrigger_core::ServiceName;

/// Who may call; the `authorize` section. `deny` is looked at first, then `allow`, then `default`.
///
/// It needs identities, which come later: until then it is checked and rendered, and whoever would
/// have to enforce it refuses the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorize {
    /// Whether the verdict is obeyed. Default enforce.
    pub mode: AuthorizeMode,
    /// What holds for a request that no rule names. Default deny.
    pub default: Verdict,
    /// Requests that are refused.
    pub deny: Vec<AuthorizeRule>,
    /// Requests that are let through.
    pub allow: Vec<AuthorizeRule>,
}

/// Whether a verdict is obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthorizeMode {
    /// What is denied is refused.
    #[default]
    Enforce,
    /// What is denied is counted and let through.
    Observe,
}

/// Allowed or denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Let through.
    Allow,
    /// Refused: 403, gRPC 7.
    #[default]
    Deny,
}

/// Which requests a rule names: each list must hold the request, an absent one holds all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizeRule {
    /// Who calls.
    pub from: Vec<From>,
    /// The methods.
    pub methods: Vec<Method>,
    /// The paths.
    pub paths: Vec<PathPattern>,
}

impl AuthorizeRule {
    /// Whether the rule names a request. An unknown caller is held by an absent list only.
    #[must_use]
    pub fn names(&self, caller: Option<&ServiceName>, method: &Method, path: &str) -> bool {
        (self.from.is_empty() || self.from.iter().any(|from| from.holds(caller)))
            && (self.methods.is_empty() || self.methods.contains(method))
            && (self.paths.is_empty() || self.paths.iter().any(|one| one.is_match(path)))
    }
}

impl Authorize {
    /// What the rules say of a request, whatever the mode.
    #[must_use]
    pub fn verdict(&self, caller: Option<&ServiceName>, method: &Method, path: &str) -> Verdict {
        if self.deny.iter().any(|rule| rule.names(caller, method, path)) {
            Verdict::Deny
        } else if self.allow.iter().any(|rule| rule.names(caller, method, path)) {
            Verdict::Allow
        } else {
            self.default
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum From {
    /// Every service that can prove its name; `*` in the file.
    AnyService,
    /// This service.
    Service(ServiceName),
}

impl From {
    fn holds(&self, caller: Option<&ServiceName>) -> bool {
        match (self, caller) {
            (Self::AnyService, Some(_)) => true,
            (Self::Service(name), Some(caller)) => name == caller,
            (_, None) => false,
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyService => f.write_str("*"),
            Self::Service(name) => name.fmt(f),
        }
    }
}

/// A path, or with `*` as its last segment everything below one: `/stock/*` is not `/stock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(Arc<str>);

impl PathPattern {
    /// Reads a pattern; `None` unless it is a normal path with `*` nowhere but as last segment.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plain = text.strip_suffix('*').filter(|rest| rest.ends_with('/')).unwrap_or(text);
        let normal = outrigger_core::NormalPath::new(plain).ok()?;
        (normal.as_str() == plain && !plain.contains('*')).then(|| Self(Arc::from(text)))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a path in its normal form is meant.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(above) => path.len() > above.len() && path.starts_with(above),
            None => path == &*self.0,
        }
    }
}
