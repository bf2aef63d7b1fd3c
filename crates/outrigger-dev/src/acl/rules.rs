//! The rule language: `service "web" { policy = "write" }`, `key_prefix "app/" { … }`, `acl = "read"`.

use std::collections::BTreeMap;

/// What rules speak about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Acl,
    Agent,
    Event,
    Key,
    Node,
    Operator,
    Service,
    Session,
}

impl Resource {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Agent => "agent",
            Self::Event => "event",
            Self::Key => "key",
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Session => "session",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [
            Self::Acl,
            Self::Agent,
            Self::Event,
            Self::Key,
            Self::Node,
            Self::Operator,
            Self::Service,
            Self::Session,
        ]
        .into_iter()
        .find(|resource| resource.word() == word)
    }
}

/// What is granted; more contains less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Deny,
    Read,
    Write,
}

impl Access {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "deny" => Some(Self::Deny),
            // Listing keys is reading them here.
            "read" | "list" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }
}

/// The rules of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    exact: BTreeMap<(Resource, String), Access>,
    prefix: BTreeMap<(Resource, String), Access>,
}

impl Rules {
    /// Parses the rule language. Comments start with `#` or `//`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = tokens(text)?.into_iter().peekable();
        let mut rules = Self::default();
        while let Some(token) = tokens.next() {
            let Token::Word(kind) = token else { return Err(format!("unexpected {token:?}")) };
            let (word, is_prefix) = match kind.strip_suffix("_prefix") {
                Some(word) => (word, true),
                None => (kind.as_str(), false),
            };
            let resource =
                Resource::parse(word).ok_or_else(|| format!("unknown resource {kind:?}"))?;
            let granted = match tokens.next() {
                Some(Token::Equals) => {
                    let access = access(tokens.next())?;
                    rules.prefix.insert((resource, String::new()), access);
                    continue;
                }
                Some(Token::Text(name)) => {
                    let mut access_of_block = None;
                    if tokens.next() != Some(Token::Open) {
                        return Err(format!("expected {{ after {name:?}"));
                    }
                    loop {
                        match tokens.next() {
                            Some(Token::Close) => break,
                            Some(Token::Word(key)) if tokens.next() == Some(Token::Equals) => {
                                let value = tokens.next();
                                if key == "policy" {
                                    access_of_block = Some(access(value)?);
                                }
                            }
                            other => return Err(format!("unexpected {other:?} in {name:?}")),
                        }
                    }
                    (name, access_of_block.ok_or("a block without policy")?)
                }
                other => return Err(format!("unexpected {other:?} after {kind:?}")),
            };
            let map = if is_prefix { &mut rules.prefix } else { &mut rules.exact };
            map.insert((resource, granted.0), granted.1);
        }
        Ok(rules)
    }

    /// What several policies together grant: exact rules first, then the longest prefix; among equals
    /// `deny` wins, then the greater access.
    pub(super) fn decide(all: &[Self], resource: Resource, name: &str) -> Option<Access> {
        let merge = |granted: Vec<Access>| {
            if granted.contains(&Access::Deny) {
                return Some(Access::Deny);
            }
            granted.into_iter().max()
        };
        let key = (resource, name.to_owned());
        let exact: Vec<_> = all.iter().filter_map(|rules| rules.exact.get(&key).copied()).collect();
        if !exact.is_empty() {
            return merge(exact);
        }
        let matching = || {
            all.iter()
                .flat_map(|rules| &rules.prefix)
                .filter(|((r, prefix), _)| *r == resource && name.starts_with(prefix.as_str()))
        };
        let longest = matching().map(|((_, prefix), _)| prefix.len()).max()?;
        merge(matching().filter(|((_, p), _)| p.len() == longest).map(|(_, a)| *a).collect())
    }

    /// Whether a rule for a key or prefix below this one withholds writing.
    pub(super) fn denies_below(&self, prefix: &str) -> bool {
        self.exact.iter().chain(&self.prefix).any(|((resource, name), access)| {
            *resource == Resource::Key && name.starts_with(prefix) && *access < Access::Write
        })
    }
}

fn access(token: Option<Token>) -> Result<Access, String> {
    match token {
        Some(Token::Text(word)) => {
            Access::parse(&word).ok_or_else(|| format!("invalid policy {word:?}"))
        }
        other => Err(format!("expected a policy, found {other:?}")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Equals,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() || c == ',' => {}
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            '/' if chars.peek() == Some(&'/') => while chars.next().is_some_and(|c| c != '\n') {},
            '{' => out.push(Token::Open),
            '}' => out.push(Token::Close),
            '=' => out.push(Token::Equals),
            '"' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => text.extend(chars.next()),
                        Some(c) => text.push(c),
                        None => return Err("a text without end".to_owned()),
                    }
                }
                out.push(Token::Text(text));
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
            other => return Err(format!("unexpected character {other:?}")),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(text: &str, name: &str) -> Option<Access> {
        Rules::decide(&[Rules::parse(text).unwrap()], Resource::Service, name)
    }

    #[test]
    fn exact_goes_before_prefix_and_longer_before_shorter() {
        let text = r#"
            # the service itself
            service "web" { policy = "write" }
            service_prefix "" { policy = "read" }
            service_prefix "web-" { policy = "deny" } // secret ones
        "#;
        assert_eq!(granted(text, "web"), Some(Access::Write));
        assert_eq!(granted(text, "other"), Some(Access::Read));
        assert_eq!(granted(text, "web-internal"), Some(Access::Deny));
        assert_eq!(granted("node_prefix \"\" { policy = \"read\" }", "web"), None);
    }

    #[test]
    fn broken_rules_are_refused() {
        for text in [
            "service",
            "service \"a\"",
            "service \"a\" { policy = \"maybe\" }",
            "planet \"x\" { policy = \"read\" }",
            "service \"a { policy",
            "service \"a\" { }",
        ] {
            assert!(Rules::parse(text).is_err(), "{text}");
        }
    }
}
