//! The files that were named: read whole, with their places, bounded.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _, stderr};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use outrigger_policy::{Format, Parsed, Policy, Report};

use super::Ended;
use crate::paint::Paint;
use crate::print;

/// Most bytes that are read of a file; the reader of policies refuses far fewer, and says so.
const READ_MAX: u64 = 4 << 20;

/// What the names of policies end with.
pub(crate) const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "toml"];

/// A file, or what came in on stdin.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// As it was named; `<stdin>` for `-`.
    pub(super) name: String,
    /// What is in it.
    pub(super) text: String,
}

impl Input {
    /// Reads one file, or stdin for `-`.
    pub(crate) fn read(name: &str) -> Result<Self, Ended> {
        let bytes = if name == "-" { bounded(io::stdin().lock()) } else { open(name) };
        let name = if name == "-" { "<stdin>" } else { name };
        let bytes =
            bytes.with_context(|| format!("{name} cannot be read")).map_err(Ended::usage)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let wrong = error.as_bytes().get(good.len()).copied().unwrap_or_default();
            let (line, column) = end_of(&String::from_utf8_lossy(good));
            Ended::usage(anyhow!("{name}:{line}:{column}: byte 0x{wrong:02x} is not UTF-8"))
        })?;
        Ok(Self { name: name.to_owned(), text })
    }

    /// Reads it as a policy.
    pub(super) fn parse(&self) -> Result<Parsed, Report> {
        Policy::parse(&self.name, &self.text, self.format())
    }

    /// Reads it as a policy, for a command that has no use for one that does not hold.
    pub(crate) fn parsed(&self) -> Result<Parsed, Ended> {
        self.parse().map_err(|report| {
            print::note(Paint::of(&stderr()).report(&report.to_string()).trim_end());
            Ended::usage(anyhow!("{} does not hold", self.name))
        })
    }

    /// How it is written: by its name, else by its first sign.
    pub(super) fn format(&self) -> Format {
        Format::of(&self.name, &self.text)
    }

    /// Whether its name is that of the fleet's default.
    pub(super) fn is_default(&self) -> bool {
        Path::new(&self.name).file_stem().is_some_and(|stem| stem == "_default")
    }
}

/// The names of files: folders become the policies in them, in order; each name once.
pub(crate) fn expand(names: &[String]) -> Result<Vec<String>, Ended> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        if !Path::new(name).is_dir() {
            if seen.insert(name.clone()) {
                all.push(name.clone());
            }
            continue;
        }
        let inside = folder(Path::new(name), is_policy)
            .with_context(|| format!("{name} cannot be read"))
            .map_err(Ended::usage)?;
        if inside.is_empty() {
            let endings = "*.yaml, *.yml, *.json or *.toml";
            return Err(Ended::usage(anyhow!("{name}: there is no policy in it ({endings})")));
        }
        all.extend(inside.into_iter().filter(|name| seen.insert(name.clone())));
    }
    Ok(all)
}

/// The files of a folder whose names fit, in order.
pub(crate) fn folder(path: &Path, fits: fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if path.is_file() && file.is_some_and(|file| fits(&file)) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file of a folder is a policy. `inventory.test.yaml` holds the expectations of
/// `policy test`; a name that begins with a dot is an editor's or the system's.
fn is_policy(file: &str) -> bool {
    let Some((stem, ending)) = file.rsplit_once('.') else { return false };
    let ending = ending.to_ascii_lowercase();
    !stem.is_empty()
        && !file.starts_with('.')
        && !stem.ends_with(".test")
        && ENDINGS.contains(&&*ending)
}

/// Whether a file holds tests, by its name.
pub(super) fn is_tests(file: &str) -> bool {
    let Some((stem, ending)) = file.rsplit_once('.') else { return false };
    let ending = ending.to_ascii_lowercase();
    stem.ends_with(".test") && !file.starts_with('.') && ENDINGS.contains(&&*ending)
}

/// The same by a whole path.
pub(super) fn has_tests(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|file| is_tests(&file.to_string_lossy()))
}

/// Replaces a file as a whole, or makes it: whoever reads it meanwhile sees the old text or the new
/// one.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a link points to is replaced, and not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Ok(before) = fs::metadata(&path) {
            fs::set_permissions(&beside, before.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&beside, &path)
    })();
    if written.is_err() {
        // What is wrong is told; a rest of it would only be in the way.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn open(name: &str) -> io::Result<Vec<u8>> {
    bounded(File::open(name)?)
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(READ_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_MAX {
        let text = format!("it is longer than {} MiB", READ_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Line and column after a text, both from 1.
fn end_of(text: &str) -> (usize, usize) {
    let line = text.matches('\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_policies_and_not_for_their_tests() {
        for policy in ["inventory.yaml", "_default.yml", "a.b.json", "orders.TOML"] {
            assert!(is_policy(policy), "{policy}");
        }
        for other in ["inventory.test.yaml", ".inventory.yaml", "README.md", "yaml", "a.yaml.swp"] {
            assert!(!is_policy(other), "{other}");
        }
    }

    #[test]
    fn places_are_counted_from_one_and_in_characters() {
        assert_eq!(end_of(""), (1, 1));
        assert_eq!(end_of("a\nbö"), (2, 3));
    }
}
