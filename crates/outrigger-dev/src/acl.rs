//! Access control: tokens, their policies, and what they may do.
//!
//! *Source*: Consul's documentation of rules: an exact rule goes before prefix rules, the longest prefix
//! before shorter ones, and what no rule names is up to the default policy.

use std::collections::BTreeMap;

use crate::model::uuid;

mod rules;

pub(crate) use rules::{Access, Resource, Rules};

/// Accessor of the token that stands for requests without one.
const ANONYMOUS: &str = "anonymous token";

/// A named set of rules.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) text: String,
    pub(crate) rules: Rules,
    pub(crate) index: u64,
}

/// A secret with its policies.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) accessor: String,
    pub(crate) secret: String,
    pub(crate) description: String,
    /// Ids of its policies.
    pub(crate) policies: Vec<String>,
    /// Whether it may do everything.
    pub(crate) management: bool,
    pub(crate) index: u64,
}

/// All tokens and policies. Without a management token access control is off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acl {
    pub(crate) enabled: bool,
    pub(crate) default_allow: bool,
    pub(crate) policies: BTreeMap<String, Policy>,
    /// By secret.
    pub(crate) tokens: BTreeMap<String, Token>,
}

/// A refusal by access control; always 403.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("ACL not found")]
    UnknownToken,
    /// Some endpoints do not say what is missing.
    #[error("Permission denied")]
    Plain,
    #[error("Permission denied: {who} lacks permission '{resource}:{access}'{on}{hint}")]
    Lacks {
        who: String,
        resource: &'static str,
        access: &'static str,
        on: String,
        hint: &'static str,
    },
}

/// What one request may do.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    who: String,
    all: bool,
    default_allow: bool,
    rules: Vec<Rules>,
    /// Whether the request named a token: only then it is told that answers were filtered.
    pub(crate) is_named: bool,
}

impl Acl {
    /// Access control off: everybody may do everything.
    pub(crate) fn off() -> Self {
        Self { default_allow: true, ..Self::default() }
    }

    /// Default deny with one token that may do everything.
    pub(crate) fn deny(management: &str, rng: &mut fastrand::Rng) -> Self {
        let token = Token {
            accessor: uuid(rng),
            secret: management.to_owned(),
            description: "Initial Management Token".to_owned(),
            policies: Vec::new(),
            management: true,
            index: 1,
        };
        Self {
            enabled: true,
            tokens: BTreeMap::from([(management.to_owned(), token)]),
            ..Self::default()
        }
    }

    /// What the bearer of a secret may do; the empty one is the anonymous token.
    pub(crate) fn authority(&self, secret: &str) -> Result<Authority, Denied> {
        let is_named = !secret.is_empty();
        if !self.enabled {
            return Ok(Authority {
                who: String::new(),
                all: true,
                default_allow: true,
                rules: Vec::new(),
                is_named,
            });
        }
        let token = match self.tokens.get(secret) {
            None if is_named => return Err(Denied::UnknownToken),
            token => token,
        };
        let rules = token
            .into_iter()
            .flat_map(|t| &t.policies)
            .filter_map(|id| self.policies.get(id).map(|p| p.rules.clone()))
            .collect();
        Ok(Authority {
            who: token.map_or_else(
                || ANONYMOUS.to_owned(),
                |token| format!("token with AccessorID '{}'", token.accessor),
            ),
            all: token.is_some_and(|t| t.management),
            default_allow: self.default_allow,
            rules,
            is_named,
        })
    }
}

impl Authority {
    /// Whether the token may access one resource of this name.
    pub(crate) fn may(&self, resource: Resource, access: Access, name: &str) -> bool {
        if self.all {
            return true;
        }
        // Of several policies the strictest exact match, else the strictest of the longest prefix.
        match Rules::decide(&self.rules, resource, name) {
            Some(granted) => granted >= access,
            None => self.default_allow,
        }
    }

    /// Whether the token may write everything under a prefix of keys.
    pub(crate) fn may_write_tree(&self, prefix: &str) -> bool {
        self.all
            || (self.may(Resource::Key, Access::Write, prefix)
                && self.rules.iter().all(|rules| !rules.denies_below(prefix)))
    }

    /// [`Authority::may`] as a result that says in Consul's words what is missing.
    pub(crate) fn check(
        &self,
        resource: Resource,
        access: Access,
        name: &str,
    ) -> Result<(), Denied> {
        if self.may(resource, access, name) {
            return Ok(());
        }
        Err(self.denied(resource, access, name))
    }

    pub(crate) fn denied(&self, resource: Resource, access: Access, name: &str) -> Denied {
        let anonymous = self.who == ANONYMOUS;
        Denied::Lacks {
            who: self.who.clone(),
            resource: resource.word(),
            access: access.word(),
            on: if name.is_empty() { String::new() } else { format!(" on {name:?}") },
            hint: if anonymous {
                ". The anonymous token is used implicitly when a request does not specify a token."
            } else {
                ""
            },
        }
    }
}
