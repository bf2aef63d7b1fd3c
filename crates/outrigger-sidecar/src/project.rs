//! What the project says about itself: name, version, language, health path, port.
//!
//! Everything here is a guess: it is told, anybody's word beats it, and a file that is broken, huge
//! or not a file is a warning and not a failure.

mod cargo;
mod command;
mod file;
mod gradle;
mod maven;
mod named;
mod node;
mod python;
mod spring;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use outrigger::core::Language;

use file::Folder;

/// Something that was guessed, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guessed {
    /// As it stands there.
    pub value: String,
    /// What it was guessed from, such as `package.json`.
    pub from: String,
}

impl Guessed {
    fn new(value: impl Into<String>, from: impl Into<String>) -> Self {
        Self { value: value.into(), from: from.into() }
    }
}

/// What a project says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guess {
    /// The service's name.
    pub service: Option<Guessed>,
    /// Its version.
    pub version: Option<Guessed>,
    /// What it is written in.
    pub language: Option<Guessed>,
    /// The path that tells whether it is well.
    pub health: Option<Guessed>,
    /// The port that it listens on, whatever it is told.
    pub port: Option<Guessed>,
    /// Files that could not be read, one line each.
    pub warnings: Vec<String>,
}

impl Guess {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        service: None,
        version: None,
        language: None,
        health: None,
        port: None,
        warnings: Vec::new(),
    };

    /// Takes over what is not known yet.
    fn fill(&mut self, other: Self) {
        self.service = self.service.take().or(other.service);
        self.version = self.version.take().or(other.version);
        self.language = self.language.take().or(other.language);
        self.health = self.health.take().or(other.health);
        self.port = self.port.take().or(other.port);
        self.warnings.extend(other.warnings);
    }
}

/// A reader of one kind of project; `None` when the folder holds none of that kind.
type Reader = fn(&mut Folder) -> Option<Guess>;

const READERS: [(Language, Reader); 6] = [
    (Language::Rust, cargo::read),
    (Language::Go, named::go_mod),
    (Language::Java, maven::read),
    (Language::Java, gradle::read),
    (Language::Python, python::read),
    (Language::Node, node::read),
];

/// Looks at the command and at the project that it belongs to.
///
/// Shape: `directory` is the working directory; looked at are the folder of the script, program or
/// archive that the command names, the folders above it up to the working directory, and that one.
///
/// Cost: reads at most a few files of at most 256 KiB each.
#[must_use]
pub fn look(directory: &Path, command: &[OsString]) -> Guess {
    let said = command::said(directory, command);
    let mut guess = Guess {
        language: said.language.clone().map(|(language, why)| Guessed::new(language.as_str(), why)),
        ..Guess::NOTHING
    };
    let language = said.language.as_ref().map(|(language, _)| language);
    let mut warnings = Vec::new();
    for path in folders(directory, said.file.as_deref()) {
        let mut folder = Folder::new(directory, &path);
        let found = project(&mut folder, language);
        warnings.append(&mut folder.warnings);
        if let Some(found) = found {
            guess.fill(found);
            break;
        }
    }
    guess.warnings.extend(warnings);
    guess.fill(named::by_files(directory, &said));
    guess
}

/// The project of a folder: that of the command's language first. One of another language is not
/// believed about the language, but for its name: a Python service may have a `package.json` for
/// its tools, and then that is all there is.
fn project(folder: &mut Folder, language: Option<&Language>) -> Option<Guess> {
    let of_this = |of: &Language| language.is_none_or(|language| family(language) == *of);
    let own = READERS.iter().filter(|(of, _)| of_this(of));
    if let Some(found) = own.into_iter().find_map(|(_, read)| read(folder)) {
        return Some(found);
    }
    None
}

/// Languages that share a kind of project.
const fn family(language: &Language) -> Language {
    match language {
        Language::Rust => Language::Rust,
        Language::Go => Language::Go,
        Language::Python => Language::Python,
        Language::Node => Language::Node,
        Language::Java | Language::Kotlin | Language::Scala => Language::Java,
        _ => Language::Shell,
    }
}

/// Where a project may be: beside the file, above it up to the working directory.
fn folders(directory: &Path, file: Option<&Path>) -> Vec<PathBuf> {
    const DEEPEST: usize = 8;
    let mut all = Vec::new();
    if let Some(folder) = file.and_then(Path::parent) {
        let inside = folder.strip_prefix(directory).is_ok();
        let above = folder.ancestors().take(if inside { DEEPEST } else { 1 });
        all.extend(above.take_while(|path| !inside || *path != directory).map(Path::to_owned));
    }
    all.push(directory.to_owned());
    all
}

#[cfg(test)]
mod tests;
