//! The `filter` parameter: the common part of Consul's boolean expressions.
//!
//! Understood are `==`, `!=`, `in`, `not in`, `contains`, `not contains`, `is empty`, `is not empty`,
//! `matches`, `not matches`, `and`, `or`, `not` and parentheses, over the fields that each answer has.
//!
//! *Source*: Consul's documentation of filtering; a key that a map does not have answers like an
//! absent value: it equals nothing and is in nothing. (`matches` and `not matches` are
//! both true of it, as in Consul.)

use regex_lite::Regex;
use serde::Serialize;
use serde_json::Value;

mod parse;
mod schema;

pub(crate) use schema::{AGENT_SERVICE, CATALOG_SERVICE, CHECK, Field, HEALTH, Kind, NODE};

/// Why an expression is refused; the text follows Consul's `Failed to create boolean expression
/// evaluator`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub(crate) struct FilterError(pub(crate) String);

/// A checked expression.
#[derive(Debug)]
pub(crate) struct Filter(Option<Expression>);

#[derive(Debug)]
enum Expression {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Match { path: Vec<String>, kind: Kind, test: Test, negated: bool },
}

#[derive(Debug)]
enum Test {
    Equals(String),
    /// The field, a list or a map or a text, holds the value.
    Holds(String),
    IsEmpty,
    Matches(Regex),
}

impl Filter {
    /// Parses an expression over the given fields; an empty one lets everything through.
    pub(crate) fn new(text: &str, fields: &[Field]) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        parse::parse(text, fields).map(|expression| Self(Some(expression)))
    }

    /// Tests what an answer would show. Without an expression nothing is built for it.
    pub(crate) fn accepts(&self, shown: &impl Serialize) -> bool {
        let Some(expression) = &self.0 else { return true };
        // Views always have a JSON form; what had none could not be shown either.
        serde_json::to_value(shown).is_ok_and(|value| expression.holds(&value))
    }
}

impl Expression {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::And(left, right) => left.holds(value) && right.holds(value),
            Self::Or(left, right) => left.holds(value) || right.holds(value),
            Self::Not(inner) => !inner.holds(value),
            Self::Match { path, kind, test, negated } => {
                let found = path.iter().try_fold(value, |at, key| at.get(key));
                if found.is_none() && *kind == Kind::MapValue && matches!(test, Test::Matches(_)) {
                    // Consul's own rule, strange as it is: what is not there matches anything, and
                    // also matches nothing.
                    return true;
                }
                test.holds(*kind, found) != *negated
            }
        }
    }
}

impl Test {
    fn holds(&self, kind: Kind, found: Option<&Value>) -> bool {
        match self {
            Self::Equals(wanted) => match (kind, found) {
                (Kind::MapValue, None) => false,
                (Kind::Number, _) => {
                    wanted.parse::<i64>().ok() == Some(found.and_then(Value::as_i64).unwrap_or(0))
                }
                (Kind::Flag, _) => {
                    crate::request::parse_bool(wanted)
                        == Some(found.and_then(Value::as_bool).unwrap_or(false))
                }
                _ => text(found) == wanted,
            },
            Self::Holds(wanted) => match found {
                Some(Value::Array(items)) => items.iter().any(|item| item == wanted.as_str()),
                Some(Value::Object(map)) => map.contains_key(wanted),
                Some(Value::String(text)) => text.contains(wanted.as_str()),
                _ => false,
            },
            Self::IsEmpty => match found {
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::String(text)) => text.is_empty(),
                _ => true,
            },
            Self::Matches(regex) => regex.is_match(text(found)),
        }
    }
}

fn text(found: Option<&Value>) -> &str {
    found.and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accepts(expression: &str) -> bool {
        let value = json!({
            "Node": {"Node": "node-1", "Meta": null},
            "Service": {
                "ID": "web-1", "Service": "web", "Tags": ["rust", "v1"], "Port": 80,
                "Meta": {"language": "rust", "zone": "a b"}, "EnableTagOverride": false,
            },
            "Checks": [],
        });
        Filter::new(expression, HEALTH).unwrap().accepts(&value)
    }

    fn refused(expression: &str) -> String {
        Filter::new(expression, HEALTH).unwrap_err().to_string()
    }

    #[test]
    fn every_operator_has_its_opposite() {
        for (holds, opposite) in [
            ("Service.ID == \"web-1\"", "Service.ID != web-1"),
            ("rust in Service.Tags", "\"rust\" not in Service.Tags"),
            ("Service.Tags contains v1", "Service.Tags not contains v1"),
            ("Service.Tags is not empty", "Service.Tags is empty"),
            ("Service.Service matches \"^w.b$\"", "Service.Service not matches `^w`"),
            ("Service.Port == 80", "Service.Port != 80"),
            ("Service.EnableTagOverride == false", "not Service.EnableTagOverride == false"),
            ("language in Service.Meta", "language not in Service.Meta"),
        ] {
            assert!(accepts(holds), "{holds}");
            assert!(!accepts(opposite), "{opposite}");
        }
    }

    #[test]
    fn and_binds_closer_than_or_and_parentheses_closest() {
        assert!(accepts("Service.Port == 80 or Service.Port == 1 and Service.Port == 2"));
        assert!(!accepts("(Service.Port == 80 or Service.Port == 1) and Service.Port == 2"));
        assert!(accepts("not (Service.Port == 1 or \"x\" in Service.Tags)"));
    }

    #[test]
    fn a_key_that_is_not_there_equals_nothing() {
        assert!(!accepts("Service.Meta.nope == \"\""));
        assert!(accepts("Service.Meta.nope != rust"));
        assert!(
            accepts("Service.Meta.nope matches x") && accepts("Service.Meta.nope not matches x")
        );
        assert!(accepts("Service.Meta[\"zone\"] == \"a b\""));
        assert!(accepts("Node.Meta is empty"));
        assert!(
            refused("Service.Meta.zone is empty").contains("Invalid match operator \"Is Empty\"")
        );
    }

    #[test]
    fn unknown_fields_and_broken_expressions_are_refused_in_consuls_words() {
        assert_eq!(
            refused("Nope == 1"),
            "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid"
        );
        for broken in ["bad bad", "(Service.Port == 1", "Service.Port ==", "and", "\"x\" in"] {
            assert!(
                refused(broken).starts_with("Failed to create boolean expression evaluator: 1:"),
                "{broken}: {}",
                refused(broken)
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_overflowing_the_stack() {
        let deep = format!("{}Service.Port == 1", "not ".repeat(100_000));
        assert!(refused(&deep).contains("too deep"));
    }
}
