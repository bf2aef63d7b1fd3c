//! The configuration file: each key a raw text with its place.

use outrigger_policy::{Place, Written, WrittenValue, nearest};

use super::key::{KEYS, Key, Shape, of_name};
use super::layers::Raw;
use super::origin::Origin;
use super::problem::Problem;

/// Reads every key of the file; what is wrong is added to `problems`.
pub(super) fn read(file: &Written, problems: &mut Vec<Problem>) -> Vec<(&'static Key, Vec<Raw>)> {
    let root = file.root();
    let mut reading = Reading { file, problems };
    if !root.is_section() {
        if !root.is_nothing() {
            let message = format!("the file is {}; wanted are keys and values", root.kind());
            reading.problem(&root.place(), "", message, "such as `service: orders`".to_owned());
        }
        return Vec::new();
    }
    root.entries().filter_map(|(name, place, value)| reading.entry(name, &place, value)).collect()
}

struct Reading<'f> {
    file: &'f Written,
    problems: &'f mut Vec<Problem>,
}

impl Reading<'_> {
    fn problem(&mut self, place: &Place, key: &str, message: String, fix: String) {
        let mut problem = Problem::new(place.to_string(), key, message, fix);
        problem.excerpt = self.file.excerpt(place);
        self.problems.push(problem);
    }

    fn entry(
        &mut self,
        name: &str,
        place: &Place,
        value: WrittenValue<'_>,
    ) -> Option<(&'static Key, Vec<Raw>)> {
        let Some(key) = of_name(name) else {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.problem(place, &shown, format!("there is no key `{shown}`"), unknown(name));
            return None;
        };
        let raw = match key.shape {
            Shape::One | Shape::Switch => vec![self.one(key, value)?],
            Shape::List | Shape::Commas => self.list(key, value)?,
            Shape::Map if value.is_section() => self.section(key, value)?,
            Shape::Map => self.list(key, value)?,
        };
        Some((key, raw))
    }

    fn wrong_kind(&mut self, key: &Key, value: WrittenValue<'_>, wanted: &str) {
        let message =
            format!("`{}` is {}; wanted is {wanted}: {}", key.name, value.kind(), key.allowed);
        self.problem(&value.place(), key.name, message, format!("such as `{}`", key.example));
    }

    fn one(&mut self, key: &Key, value: WrittenValue<'_>) -> Option<Raw> {
        match value.scalar() {
            Some(text) => Some(raw(text, value)),
            None => {
                self.wrong_kind(key, value, "one value");
                None
            }
        }
    }

    fn list(&mut self, key: &Key, value: WrittenValue<'_>) -> Option<Vec<Raw>> {
        let Some(items) = value.items() else {
            let wanted = "a list";
            return match value.scalar() {
                Some(text) if key.shape == Shape::Commas => {
                    Some(text.split(',').map(|part| raw(part.trim(), value)).collect())
                }
                Some(text) => Some(vec![raw(text, value)]),
                None => {
                    self.wrong_kind(key, value, wanted);
                    None
                }
            };
        };
        let mut all = Vec::new();
        for item in items {
            all.push(self.one(key, item)?);
        }
        Some(all)
    }

    /// `{ inventory: [a, b] }` is `inventory=a,b`.
    fn section(&mut self, key: &Key, value: WrittenValue<'_>) -> Option<Vec<Raw>> {
        let mut all = Vec::new();
        for (name, _, below) in value.entries() {
            let texts = match below.items() {
                Some(items) => items.map(WrittenValue::scalar).collect::<Option<Vec<_>>>(),
                None => below.scalar().map(|text| vec![text]),
            };
            let Some(texts) = texts else {
                self.wrong_kind(key, below, "one value, or a list of them, for each name");
                return None;
            };
            all.push(raw(&format!("{name}={}", texts.join(",")), below));
        }
        Some(all)
    }
}

fn raw(text: &str, value: WrittenValue<'_>) -> Raw {
    Raw { text: text.to_owned(), origin: Origin::File(value.place()) }
}

/// What to do about a key that does not exist.
fn unknown(name: &str) -> String {
    let bare = name.trim_start_matches('-');
    let known = || KEYS.iter().map(|key| key.name);
    if let Some(key) = KEYS.iter().find(|key| key.flag == bare && key.is_negated()) {
        return format!("it is `{}: false` in a file", key.name);
    }
    if let Some(other) = foreign(bare) {
        return other.to_owned();
    }
    match nearest(bare, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// Keys that stand elsewhere: in a policy, or on the command line only.
fn foreign(name: &str) -> Option<&'static str> {
    match name {
        "timeout" | "retry" | "breaker" | "balance" | "rate_limit" | "routes" | "eject" => {
            Some("it belongs into a policy; name its file here: `policy: [FILE]`")
        }
        "config" | "check" | "json" | "help" => Some("it is a flag, and no key of a file"),
        "registry" => Some("the registry's address is `consul`"),
        "name" => Some("the service's name is `service`"),
        "upstreams" => Some("it is `upstream`"),
        "policies" => Some("it is `policy`"),
        _ => None,
    }
}
