//! What the registry holds of a policy: the text in force and the places of its history. Others
//! write there too: nothing of it is taken for ours, for text or for a policy before it was looked at.

use outrigger::core::PolicyVersion;
use outrigger_policy::{Format, Policy, is_tombstone, version_of};
use serde::{Deserialize, Serialize};

use crate::cli::policy::Target;

const MARK: &str = "# outrigger history: ";

/// Numbers from here on are not ours: no history gets that far by counting.
const NUMBER_END: u64 = 1 << 53;

/// What stands below a key.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// As written.
    pub(super) text: String,
    pub(super) version: PolicyVersion,
    /// The first byte that is no UTF-8, from 1; the text stands in for it there.
    wrong_byte: Option<usize>,
}

impl Kept {
    fn new(value: &[u8]) -> Self {
        let wrong_byte = std::str::from_utf8(value).err().map(|error| error.valid_up_to() + 1);
        let text = String::from_utf8_lossy(value).into_owned();
        Self { version: version_of(&text), text, wrong_byte }
    }

    /// Whether the text is what stands there, byte for byte.
    pub(super) const fn is_text(&self) -> bool {
        self.wrong_byte.is_none()
    }

    /// Whether it says that there is no policy.
    pub(super) fn is_removed(&self) -> bool {
        self.is_text() && is_tombstone(&self.text)
    }

    /// Why nobody obeys it; `None` for a policy that holds and for a tombstone.
    pub(super) fn trouble(&self, target: &Target) -> Option<String> {
        if let Some(byte) = self.wrong_byte {
            return Some(format!("byte {byte} is no UTF-8"));
        }
        if self.is_removed() {
            return None;
        }
        let name = format!("{target}@{}", self.version);
        let parsed = match Policy::parse(&name, &self.text, Format::of_text(&self.text)) {
            Ok(parsed) => parsed,
            Err(report) => return Some(report.first_line()),
        };
        match (target, &parsed.policy.service) {
            (Target::Service(wanted), Some(named)) if wanted != named => {
                Some(format!("it is the policy of `{named}`"))
            }
            (Target::Default, Some(named)) => Some(format!("it names a service, `{named}`")),
            _ => None,
        }
    }
}

/// What is in force.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) kept: Kept,
    /// What a compare-and-set compares.
    pub(super) index: u64,
}

impl Current {
    pub(super) fn new(value: &[u8], index: u64) -> Self {
        Self { kept: Kept::new(value), index }
    }
}

/// Who wrote a version, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Author {
    /// When, as RFC 3339.
    pub(super) at: String,
    /// Who.
    pub(super) by: String,
}

impl Author {
    /// Both fit for a terminal and for one line.
    pub(super) fn new(at: &str, by: &str) -> Self {
        let fit = |text: &str, max| text.chars().filter(|c| !c.is_control()).take(max).collect();
        Self { at: fit(at, 32), by: fit(by, 128) }
    }
}

/// A place in the history.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its number; later ones are larger.
    pub(super) number: u64,
    /// Who wrote it; `None` when it was found and not pushed.
    pub(super) author: Option<Author>,
    pub(super) kept: Kept,
}

impl Entry {
    pub(super) fn read(number: u64, value: &[u8]) -> Self {
        let line = value.strip_prefix(MARK.as_bytes());
        let split =
            line.and_then(|rest| Some(rest.split_at(rest.iter().position(|b| *b == b'\n')?)));
        // Foreign places are texts without a line of ours.
        let (author, text) = match split {
            Some((line, text)) => (serde_json::from_slice::<Author>(line).ok(), &text[1..]),
            None => (None, value),
        };
        let author = author.map(|author| Author::new(&author.at, &author.by));
        Self { number, author, kept: Kept::new(text) }
    }
}

/// The value of a place: who wrote the text, and the text.
pub(super) fn signed(author: Option<&Author>, text: &str) -> serde_json::Result<String> {
    let line = author.map(serde_json::to_string).transpose()?;
    Ok(format!("{MARK}{}\n{text}", line.as_deref().unwrap_or("null")))
}

/// The number of a place of ours; `None` for a key that somebody else put there.
pub(super) fn number_of(prefix: &str, key: &str) -> Option<u64> {
    let written = key.strip_prefix(prefix)?;
    let number: u64 = written.parse().ok()?;
    (number < NUMBER_END && number.to_string() == written).then_some(number)
}

/// A key whose text is still what was read.
#[derive(Debug)]
pub(super) struct Read {
    /// What is in force; `None` when there is no key.
    pub(super) current: Option<Current>,
    /// The history, the newest last.
    pub(super) history: Vec<Entry>,
}

impl Read {
    /// The version in force; `None` when there is no policy, or it was removed.
    pub(super) fn in_force(&self) -> Option<&Current> {
        self.current.as_ref().filter(|current| !current.kept.is_removed())
    }

    /// The newest place of the history; 0 when there is none.
    pub(super) fn newest(&self) -> u64 {
        self.history.last().map_or(0, |entry| entry.number)
    }

    /// Who wrote what is in force, when that is known.
    pub(super) fn author(&self) -> Option<&Author> {
        let version = self.current.as_ref()?.kept.version;
        let last = self.history.iter().rev().find(|entry| entry.kept.version == version)?;
        last.author.as_ref()
    }

    /// The places of other versions than the one in force, the newest first: what one goes back to.
    ///
    /// By version and not by place: another program may have put an old text below the key again.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &Entry> {
        let in_force = self.current.as_ref().map(|current| current.kept.version);
        self.history.iter().rev().filter(move |entry| Some(entry.kept.version) != in_force)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_history_says_who_and_holds_the_text_as_written() {
        let value =
            "# outrigger history: {\"at\":\"2026-01-02T03:04:05Z\",\"by\":\"ann\"}\n# hm\na: 1";
        let entry = Entry::read(3, value.as_bytes());
        assert_eq!(entry.author.as_ref().map(|author| &*author.by), Some("ann"));
        assert_eq!(entry.kept.text, "# hm\na: 1", "not a byte is added or lost");
        assert_eq!(entry.kept.version, version_of("# hm\na: 1"));
    }

    #[test]
    fn a_place_that_somebody_else_wrote_is_a_text_without_an_author() {
        for foreign in ["version: 1\n", "# outrigger history: null\nversion: 1\n"] {
            let entry = Entry::read(1, foreign.as_bytes());
            assert_eq!(
                (entry.author.as_ref(), entry.kept.text.as_str()),
                (None, "version: 1\n"),
                "{foreign:?}"
            );
        }
    }

    #[test]
    fn a_writers_name_does_not_reach_the_terminals_controls() {
        let value =
            "# outrigger history: {\"at\":\"\\u001b[31mnow\",\"by\":\"\\u001b[2Jann\\nbob\"}\n";
        let author = Entry::read(1, value.as_bytes()).author.expect("an author");
        assert_eq!((&*author.at, &*author.by), ("[31mnow", "[2Jannbob"));
    }

    #[test]
    fn only_numbers_as_we_write_them_are_places() {
        let number = |key: &str| number_of("h/", &format!("h/{key}"));
        assert_eq!((number("1"), number("1024")), (Some(1), Some(1024)));
        for foreign in ["", "007", "+9", "-1", "1/x", "readme", "18446744073709551615"] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
    }
}
