//! A file as a tree of values, each with its place: the same for YAML, JSON and TOML.

mod json;
mod toml;
mod yaml;

use crate::finding::{Finding, Rule};
use crate::source::{Format, Source, Span};

/// Most bytes of a text: what Consul's KV takes for one key.
pub(crate) const MAX_BYTES: usize = 512 * 1024;
/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 32;
/// Most keys and values.
pub(crate) const MAX_NODES: usize = 50_000;
/// Most keys of one section: each is compared with those before it.
const MAX_KEYS: usize = 1_000;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing: `null`, `~`, or nothing at all.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as written; it need not be finite or fit anything.
    Number(Box<str>),
    /// A text. `plain` is one without quotes, which YAML 1.1 may read as something else.
    Text { text: Box<str>, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file; no key stands twice.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) name: Box<str>,
}

impl Node {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&(Key, Self)> {
        self.entries().iter().find(|(found, _)| &*found.name == key)
    }

    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The text of a scalar: what a text says, a number as written, `true`.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.value, Value::Text { text, .. } if &**text == word)
    }

    /// What it is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        }
    }
}

/// Reads a text. Findings that leave a tree (duplicate keys) stand beside it; whatever breaks the
/// tree leaves none.
pub(crate) fn read(source: &Source, format: Format) -> (Option<Node>, Vec<Finding>) {
    let mut reading = Reading { source, findings: Vec::new(), nodes: 0 };
    if source.text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes; allowed are at most {MAX_BYTES} (512 KiB)",
            source.text.len()
        );
        reading.whole(Rule::Limit, message, "split it: a policy is for one service");
        return (None, reading.findings);
    }
    let root = match format {
        Format::Yaml => yaml::read(&mut reading),
        Format::Json => json::read(&mut reading),
        Format::Toml => toml::read(&mut reading),
    };
    (root.ok(), reading.findings)
}

/// A finding was written down; there is no tree.
struct Broken;

struct Reading<'s> {
    source: &'s Source,
    findings: Vec<Finding>,
    nodes: usize,
}

impl Reading<'_> {
    fn finding(&mut self, rule: Rule, span: Span, message: impl Into<String>, fix: &str) -> Broken {
        let place = self.source.place(span);
        self.findings.push(Finding {
            rule,
            severity: rule.severity(),
            subject: String::new(),
            place,
            message: message.into(),
            fix: fix.to_owned(),
            also: None,
        });
        Broken
    }

    fn whole(&mut self, rule: Rule, message: String, fix: &str) {
        self.finding(rule, Span::default(), message, fix);
        if let Some(finding) = self.findings.last_mut() {
            finding.place = self.source.whole();
        }
    }

    /// Counts a key or a value.
    fn count(&mut self, span: Span, depth: usize) -> Result<(), Broken> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} keys and values");
            return Err(self.finding(Rule::Limit, span, message, "split the file"));
        }
        if depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} deep");
            let fix = "no section of a policy is nested deeper than 8; look for a missing bracket";
            return Err(self.finding(Rule::Limit, span, message, fix));
        }
        Ok(())
    }

    /// Puts a value into a map, unless its key is there already.
    fn insert(&mut self, map: &mut Vec<(Key, Node)>, key: Key, node: Node) -> Result<(), Broken> {
        if map.len() >= MAX_KEYS {
            let message = format!("more than {MAX_KEYS} keys in one section");
            return Err(self.finding(Rule::Limit, key.span, message, "split the file"));
        }
        if let Some((first, _)) = map.iter().find(|(there, _)| there.name == key.name) {
            let message = format!("the key `{}` stands twice", shown(&key.name));
            let also = (self.source.place(first.span), "first here".to_owned());
            let fix = "keep one of them; readers disagree on which one counts";
            self.finding(Rule::DuplicateKey, key.span, message, fix);
            if let Some(finding) = self.findings.last_mut() {
                finding.also = Some(also);
                finding.subject = shown(&key.name);
            }
            return Ok(());
        }
        map.push((key, node));
        Ok(())
    }
}

/// Whether an unquoted word of YAML is a text.
pub(crate) fn is_plain_text(text: &str) -> bool {
    yaml::is_plain_text(text)
}

/// A text for a message: short, on one line, nothing that a terminal obeys.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}
