//! What was said where: the first layer that says anything about a key wins.

use outrigger_policy::{Written, nearest};

use super::file;
use super::key::{Key, Shape};
use super::origin::{Origin, Setting};
use super::problem::Problem;
use crate::project::{Guess, Guessed};

/// Which command the settings are for; a few defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two commands")]
pub enum Mode {
    /// `outrigger run`: with a child.
    Run,
    /// `outrigger sidecar`: without one.
    Sidecar,
}

/// Everything that was said, before it is judged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Given<'g> {
    /// For which command.
    pub mode: Mode,
    /// Flags by the names that they are typed with, without dashes, each with its values; `true`
    /// for one without a value.
    pub flags: Vec<(String, Vec<String>)>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// The configuration file.
    pub file: Option<&'g Written>,
    /// What the project says.
    pub guess: Guess,
}

impl<'g> Given<'g> {
    /// Nothing said yet.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, flags: Vec::new(), variables: Vec::new(), file: None, guess: Guess::NOTHING }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(there, _)| there == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.trim().is_empty())
    }
}

/// A text for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Variables that `run` gives its child, and that are no flags of a nested command then.
const OF_THE_PARENT: [&str; 3] = ["OUTRIGGER_OUTBOUND", "OUTRIGGER_ADMIN", "OUTRIGGER_SERVICE"];

/// The layers over each other.
pub(super) struct Layers<'g> {
    given: &'g Given<'g>,
    file: Vec<(&'static Key, Vec<Raw>)>,
    pub(super) problems: Vec<Problem>,
}

impl<'g> Layers<'g> {
    pub(super) fn new(given: &'g Given<'g>) -> Self {
        let mut problems = Vec::new();
        let file = given.file.map(|file| file::read(file, &mut problems)).unwrap_or_default();
        Self { given, file, problems }
    }

    /// What was said about a key by whoever counts first.
    fn raw(&self, key: &'static Key) -> Vec<Raw> {
        let of_flag = self.given.flags.iter().find(|(flag, _)| flag == key.flag);
        if let Some((_, texts)) = of_flag {
            let origin = Origin::Flag(key.flag);
            let texts = texts.iter().map(|text| negated(key, text));
            return split(key, texts, &origin, &[',']);
        }
        let variable = key.variable;
        let is_parents =
            OF_THE_PARENT.contains(&variable) && self.given.variable("OUTRIGGER_BESIDE").is_some();
        if let Some(text) = self.given.variable(variable).filter(|_| !is_parents) {
            let text = negated(key, text.trim());
            return split(
                key,
                [text].into_iter(),
                &Origin::Variable(variable.to_owned()),
                &[';', ','],
            );
        }
        let of_file = self.file.iter().find(|(there, _)| *there == key);
        of_file.map(|(_, raw)| raw.clone()).unwrap_or_default()
    }

    /// The one value of a key.
    pub(super) fn one<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<T>> {
        let mut raw = self.raw(key);
        if raw.len() > 1 {
            let again = &raw[1];
            let message = format!("`{}` stands there {} times", key.name, raw.len());
            self.problem(&again.origin.clone(), key, message, "say it once".to_owned());
        }
        let raw = (!raw.is_empty()).then(|| raw.swap_remove(0))?;
        self.parsed(key, &raw, &parse).map(|value| Setting::new(value, raw.origin))
    }

    /// All values of a key.
    pub(super) fn many<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<Vec<T>>> {
        let raw = self.raw(key);
        let origin = raw.first()?.origin.clone();
        let values = raw.iter().filter_map(|raw| self.parsed(key, raw, &parse)).collect();
        Some(Setting::new(values, origin))
    }

    fn parsed<T>(
        &mut self,
        key: &'static Key,
        raw: &Raw,
        parse: &impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&raw.text);
        if parsed.is_none() {
            let message = format!(
                "`{}` is `{}`; allowed is {}",
                key.name,
                shown(key, &raw.text),
                key.allowed
            );
            self.problem(&raw.origin, key, message, help(key, &raw.text));
        }
        parsed
    }

    /// The first of: what was said, what the project says, the default.
    pub(super) fn guessed<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Option<T>,
        guessed: Option<&Guessed>,
    ) -> Setting<Option<T>> {
        if let Some(said) = self.one(key, &parse) {
            return said.map(Some);
        }
        // What a project says need not be what we allow; then it says nothing.
        let guessed = guessed.and_then(|g| parse(&g.value).map(|value| (value, g.from.clone())));
        match guessed {
            Some((value, from)) => Setting::new(Some(value), Origin::Project(from)),
            None => Setting::default(None, ""),
        }
    }

    /// A variable that is not ours and that says the same as one of our keys.
    pub(super) fn foreign<T>(
        &mut self,
        key: &'static Key,
        variable: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<T>> {
        let text = self.given.variable(variable)?.trim().to_owned();
        let is_parents = self.given.variable("OUTRIGGER_BESIDE").is_some()
            && self.given.variable("OUTRIGGER_SERVICE") == Some(&*text);
        if is_parents {
            return None;
        }
        let raw = Raw { text, origin: Origin::Variable(variable.to_owned()) };
        self.parsed(key, &raw, &parse).map(|value| Setting::new(value, raw.origin))
    }

    /// Adds a problem at a value's own place.
    pub(super) fn problem(&mut self, origin: &Origin, key: &Key, message: String, fix: String) {
        let mut problem = Problem::new(origin.place(), key.name, message, fix);
        if let (Origin::File(place), Some(file)) = (origin, self.given.file) {
            problem.excerpt = file.excerpt(place);
        }
        // A key that is looked up twice is wrong once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// A negated flag says the opposite of its key.
fn negated(key: &Key, text: &str) -> String {
    match (key.is_negated(), truth(text)) {
        (true, Some(said)) => (!said).to_string(),
        (false, Some(said)) if key.shape == Shape::Switch => said.to_string(),
        _ => text.to_owned(),
    }
}

/// What a switch says.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// One text as the values that it holds.
fn split(
    key: &Key,
    texts: impl Iterator<Item = String>,
    origin: &Origin,
    commas: &[char],
) -> Vec<Raw> {
    let is_variable = matches!(origin, Origin::Variable(_));
    let mut all = Vec::new();
    for text in texts {
        let parts: Vec<&str> = match key.shape {
            Shape::One | Shape::Switch => vec![&text],
            Shape::Commas => text.split(commas).map(str::trim).collect(),
            Shape::List | Shape::Map if is_variable => text.split(';').map(str::trim).collect(),
            Shape::List | Shape::Map => vec![&text],
        };
        let parts = parts.into_iter().filter(|part| !is_variable || !part.is_empty());
        all.extend(parts.map(|text| Raw { text: text.to_owned(), origin: origin.clone() }));
    }
    all
}

/// A value as it may stand in a message: short, on one line, without passwords.
fn shown(key: &Key, text: &str) -> String {
    let text = match text.rsplit_once('@') {
        Some((_, rest)) if key.name == "consul" => format!("…@{rest}"),
        _ => text.to_owned(),
    };
    let mut short: String =
        text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}

fn help(key: &Key, text: &str) -> String {
    let words: &[&str] = match key.name {
        "unknown" => &["pass", "refuse"],
        "upgrade" => &["websocket"],
        "trust" => &["loopback", "registry"],
        _ => &[],
    };
    if let Some(near) = nearest(text, words.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match key.name {
        "drain" if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            format!("did you mean `{text}s`?")
        }
        _ => format!("such as `{}`", key.example),
    }
}
