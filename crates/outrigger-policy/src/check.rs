//! A tree held against the table of fields: every error at once, each with its place.

mod scalars;

use crate::fields::{Absent, Field, Kind, POLICY, Section, or};
use crate::finding::{Finding, Rule};
use crate::scalar::nearest;
use crate::source::{Source, Span};
use crate::tree::{Key, Node, Value, shown};

/// Most findings of one file: whoever has so many does not read the last of them.
const MOST: usize = 200;

/// Findings, and what is needed to make them.
pub(crate) struct Findings<'s> {
    pub(crate) source: &'s Source,
    pub(crate) all: Vec<Finding>,
}

impl<'s> Findings<'s> {
    pub(crate) const fn new(source: &'s Source, all: Vec<Finding>) -> Self {
        Self { source, all }
    }

    pub(crate) fn add(
        &mut self,
        rule: Rule,
        span: Span,
        subject: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<&mut Finding> {
        if self.is_full() {
            return None;
        }
        self.all.push(Finding {
            rule,
            severity: rule.severity(),
            subject: subject.to_owned(),
            place: self.source.place(span),
            message: message.into(),
            fix: fix.into(),
            also: None,
        });
        self.all.last_mut()
    }

    pub(crate) fn add_with(
        &mut self,
        rule: Rule,
        span: Span,
        subject: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
        also: (Span, &str),
    ) {
        let place = self.source.place(also.0);
        if let Some(finding) = self.add(rule, span, subject, message, fix) {
            finding.also = Some((place, also.1.to_owned()));
        }
    }

    /// Whether there is no room for more.
    pub(crate) const fn is_full(&self) -> bool {
        self.all.len() >= MOST
    }

    /// Whether something is wrong at a key, below it, or with what it stands in.
    pub(crate) fn touches(&self, subject: &str) -> bool {
        let inside = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| {
                outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
        };
        self.all.iter().any(|found| !found.subject.is_empty() && inside(subject, &found.subject))
    }
}

/// Holds a tree against a section.
pub(crate) fn section(node: &Node, section: &Section, path: &str, out: &mut Findings<'_>) {
    let Value::Map(entries) = &node.value else {
        not_a_section(node, section, path, out);
        return;
    };
    for (key, value) in entries {
        if out.is_full() {
            return;
        }
        let below = join(path, &shown(&key.name));
        match section.field(&key.name) {
            Some(field) => {
                kind(value, &field.kind, &Of { field: Some(field), key: &field.kind }, &below, out)
            }
            None => unknown_key(key, section, path, out),
        }
    }
    let missing = section.fields.iter().filter(|field| {
        field.default == Absent::Refused && !entries.iter().any(|(key, _)| &*key.name == field.key)
    });
    for field in missing {
        let span = Span::new(node.span.start, node.span.start + 1);
        let message = match path {
            "" => format!("`{}` is missing", field.key),
            path => format!("`{path}` has no `{}`", field.key),
        };
        let fix =
            format!("add `{}: {}`; allowed is {}", field.key, field.example, field.kind.allowed());
        out.add(Rule::MissingKey, span, &join(path, field.key), message, fix);
    }
}

fn not_a_section(node: &Node, section: &Section, path: &str, out: &mut Findings<'_>) {
    let keys = or(section.fields.iter().take(6).map(|field| format!("`{}`", field.key)));
    match (&node.value, path) {
        (Value::Null, "") => {
            let fix = match section.name == POLICY.name {
                true => "the smallest policy is `version: 1` and `service: NAME`".to_owned(),
                false => format!("it has keys such as {keys}"),
            };
            out.add(Rule::MissingKey, node.span, "", "the file is empty", fix);
        }
        (Value::Null, path) => {
            let message = format!("`{path}` has nothing below it");
            let fix = format!(
                "remove the key, write `{{}}` for its defaults, or add keys such as {keys}"
            );
            out.add(Rule::Type, node.span, path, message, fix);
        }
        (_, path) => {
            let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            let message = format!("{what} is {}; wanted is a section", found(node));
            out.add(Rule::Type, node.span, path, message, format!("it has keys such as {keys}"));
        }
    }
}

/// What is found, for messages.
fn found(node: &Node) -> String {
    match node.scalar() {
        Some(text) => format!("`{}`", shown(text)),
        None => node.kind().to_owned(),
    }
}

fn unknown_key(key: &Key, section: &Section, path: &str, out: &mut Findings<'_>) {
    let place =
        if path.is_empty() { "at the top level".to_owned() } else { format!("in `{path}`") };
    let name = shown(&key.name);
    let message = format!("there is no key `{name}` {place}");
    let known = || section.fields.iter().map(|field| field.key);
    let elsewhere = || {
        let top = crate::fields::POLICY.field(&key.name).map(|_| "at the top level".to_owned());
        top.or_else(|| {
            let inbound = crate::fields::INBOUND.field(&key.name);
            inbound.map(|_| "in `inbound`".to_owned())
        })
        .or_else(|| crate::fields::ROUTE.field(&key.name).map(|_| "in a route".to_owned()))
        .or_else(|| {
            let tables = crate::fields::POLICY.fields.iter();
            tables
                .filter_map(|field| field.kind.table().map(|table| (field.key, table)))
                .find(|(_, table)| table.field(&key.name).is_some())
                .map(|(at, _)| format!("in `{at}`"))
        })
    };
    let fix = if key.name.trim().is_empty() {
        format!("known here: {}", or(known().map(|key| format!("`{key}`"))))
    } else if let Some(ours) = foreign(&key.name) {
        ours.to_owned()
    } else if let Some(near) = nearest(&key.name, known()) {
        format!("did you mean `{near}`?")
    } else if let Some(elsewhere) = elsewhere() {
        format!(
            "`{name}` stands {elsewhere}; known here: {}",
            or(known().map(|key| format!("`{key}`")))
        )
    } else {
        format!("known here: {}", or(known().map(|key| format!("`{key}`"))))
    };
    out.add(Rule::UnknownKey, key.span, &join(path, &name), message, fix);
}

/// What others call something of ours.
fn foreign(key: &str) -> Option<&'static str> {
    let bare: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    let table: &[(&[&str], &str)] = &[
        (
            &["retries", "retrypolicy", "retryon"],
            "it is called `retry` here, with `attempts` and `when`",
        ),
        (
            &["numretries", "maxretries", "maxattempts"],
            "it is called `retry.attempts` here: tries AFTER the first",
        ),
        (&["pertrytimeout"], "it is called `retry.per_try_timeout` here"),
        (&["outlierdetection", "outlier"], "it is called `eject` here"),
        (
            &["circuitbreaker", "circuitbreakers"],
            "it is called `breaker` (a circuit) or `capacity` (limits in flight) here",
        ),
        (&["loadbalancer", "lbpolicy", "loadbalancing"], "it is called `balance.algorithm` here"),
        (&["connectionpool", "bulkhead"], "it is called `capacity` here"),
        (
            &["ratelimit", "ratelimiter", "localratelimit"],
            "it is called `rate_limits` here: a list, for this caller; `inbound.rate_limits` for all callers",
        ),
        (&["virtualhosts", "http"], "it is called `routes` here"),
        (&["mirrors", "requestmirrorpolicies", "shadow"], "it is called `mirror` here, in a route"),
        (
            &["destinationrule", "virtualservice", "apiversion", "kind"],
            "this looks like a Kubernetes manifest; a policy is written by hand, and rendered to manifests",
        ),
        (
            &["cors", "corspolicy"],
            "there is no CORS here: it is the application's answer, not a rule of calling",
        ),
        (
            &["rewrite", "redirect"],
            "there are no rewrites here: a policy changes how a request is carried, not what it asks for",
        ),
        (&["weight"], "weights stand in `routes[].split[]`"),
    ];
    let bare = bare.to_ascii_lowercase();
    table.iter().find(|(words, _)| words.contains(&&*bare)).map(|(_, ours)| *ours)
}

/// Holds one value against a kind.
#[cfg(test)]
pub(crate) fn value(node: &Node, wanted: &Kind, path: &str, out: &mut Findings<'_>) {
    kind(node, wanted, &Of { field: None, key: wanted }, path, out);
}

/// The field that a value is for, and the whole of what its key allows.
struct Of<'f> {
    field: Option<&'f Field>,
    key: &'f Kind,
}

fn kind(node: &Node, wanted: &Kind, of: &Of<'_>, path: &str, out: &mut Findings<'_>) {
    if out.is_full() {
        return;
    }
    match wanted {
        Kind::Either(kinds) => match choose(node, kinds) {
            Some(chosen) => kind(node, chosen, of, path, out),
            None => scalars::wrong_type(node, of, path, out),
        },
        Kind::Table(table) => section(node, table, path, out),
        Kind::OneOf(table) => {
            section(node, table, path, out);
            let keys = || or(table.fields.iter().map(|field| format!("`{}`", field.key)));
            if let Value::Map(entries) = &node.value
                && entries.len() != 1
                && entries.iter().all(|(key, _)| table.field(&key.name).is_some())
            {
                let message = format!("`{path}` has {} keys; wanted is exactly one", entries.len());
                let verb = if entries.is_empty() { "give" } else { "keep" };
                let fix = format!("{verb} one of {}", keys());
                out.add(Rule::Value, node.span, path, message, fix);
            }
        }
        Kind::List { of: inner, max } => {
            let Value::List(items) = &node.value else {
                scalars::wrong_type(node, of, path, out);
                return;
            };
            if items.len() > *max {
                let message =
                    format!("`{path}` has {} entries; allowed are at most {max}", items.len());
                out.add(Rule::Value, node.span, path, message, "");
                return;
            }
            for (at, item) in items.iter().enumerate() {
                let of = Of { field: None, key: inner };
                kind(item, inner, &of, &format!("{path}[{at}]"), out);
            }
        }
        Kind::Map { key: name, of: inner, max } => {
            let Value::Map(entries) = &node.value else {
                scalars::wrong_type(node, of, path, out);
                return;
            };
            if entries.len() > *max {
                let message =
                    format!("`{path}` has {} keys; allowed are at most {max}", entries.len());
                out.add(Rule::Value, node.span, path, message, "");
                return;
            }
            for (key, value) in entries {
                let below = join(path, &shown(&key.name));
                scalars::key(key, name, &below, out);
                kind(value, inner, &Of { field: None, key: inner }, &below, out);
            }
        }
        Kind::Any => {}
        scalar => scalars::check(node, scalar, of, path, out),
    }
}

/// The alternative whose shape fits a value.
pub(crate) fn choose<'k>(node: &Node, kinds: &'k [Kind]) -> Option<&'k Kind> {
    let is_word = |kind: &&Kind| match kind {
        Kind::Word(words) => words.iter().any(|(word, _)| node.is_word(word)),
        _ => false,
    };
    let fits = |kind: &&Kind| match (kind, &node.value) {
        (Kind::Word(_), _) | (_, Value::Null) => false,
        (Kind::Table(_) | Kind::OneOf(_) | Kind::Map { .. }, Value::Map(_)) => true,
        (Kind::List { .. }, Value::List(_)) => true,
        (Kind::Table(_) | Kind::OneOf(_) | Kind::Map { .. } | Kind::List { .. }, _) => false,
        (_, Value::Map(_) | Value::List(_)) => false,
        (Kind::Bool, value) => matches!(value, Value::Bool(_)),
        (Kind::Int { .. }, value) => matches!(value, Value::Number(_)),
        _ => true,
    };
    kinds.iter().find(is_word).or_else(|| kinds.iter().find(fits))
}

impl Kind {
    /// The section that may stand there.
    pub(crate) fn table(&self) -> Option<&'static Section> {
        match self {
            Self::Table(table) | Self::OneOf(table) => Some(table),
            Self::Either(kinds) => kinds.iter().find_map(Self::table),
            _ => None,
        }
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
