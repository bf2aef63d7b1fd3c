//! Names that stand in no field: a module's path, an archive, a program, a folder.

use std::path::Path;

use super::command::Said;
use super::file::Folder;
use super::{Guess, Guessed};

/// `go.mod`: the last part of the module's path, without its major version.
pub(super) fn go_mod(folder: &mut Folder) -> Option<Guess> {
    const FILE: &str = "go.mod";
    let text = folder.text(FILE)?;
    let from = folder.name(FILE);
    let module = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let Some(module) = module else {
        folder.warn(FILE, "it has no line `module PATH`");
        return None;
    };
    let module = module.split("//").next().unwrap_or(module).trim().trim_matches('"');
    let is_major = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let name = module.rsplit('/').find(|part| !is_major(part)).unwrap_or(module);
    Some(Guess {
        service: Some(Guessed::new(name, from.clone())),
        language: Some(Guessed::new("go", from)),
        ..Guess::NOTHING
    })
}

/// Names that tell nothing: what everybody calls his program or his folder.
const GENERIC: [&str; 30] = [
    "app",
    "application",
    "main",
    "server",
    "service",
    "index",
    "run",
    "start",
    "entrypoint",
    "src",
    "bin",
    "target",
    "release",
    "debug",
    "dist",
    "build",
    "out",
    "code",
    "work",
    "workspace",
    "project",
    "repo",
    "home",
    "root",
    "tmp",
    "opt",
    "srv",
    "usr",
    "var",
    "data",
];

/// What the names of files say: an archive's, a program's, the folder's.
pub(super) fn by_files(directory: &Path, said: &Said) -> Guess {
    let mut guess = Guess::default();
    let file = said.file.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(archive) = file.filter(|name| name.ends_with(".jar") || name.ends_with(".war")) {
        let (name, version) = of_archive(&archive[..archive.len() - 4]);
        if is_telling(name) {
            guess.service = Some(Guessed::new(name, archive));
            guess.version = version.map(|version| Guessed::new(version, archive));
        }
    }
    if guess.service.is_none()
        && said.is_program
        && let Some(name) = file
    {
        let stem = name.split('.').next().unwrap_or(name);
        if is_telling(stem) {
            guess.service = Some(Guessed::new(stem, format!("the program's name, {name}")));
        }
    }
    if guess.service.is_none() {
        let name = directory.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.map(plain).filter(|name| is_telling(name)) {
            guess.service = Some(Guessed::new(name, "the folder's name"));
        }
    }
    guess
}

fn is_telling(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !GENERIC.iter().any(|generic| generic.eq_ignore_ascii_case(name))
}

/// A folder's name as a service's: what a name does not hold becomes a dash.
fn plain(name: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().map(|c| if ok(c) { c } else { '-' }).collect()
}

/// `billing-1.2.0-SNAPSHOT` is billing, 1.2.0-SNAPSHOT.
fn of_archive(stem: &str) -> (&str, Option<&str>) {
    let digit = |at: usize| stem.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit);
    match stem.match_indices('-').map(|(at, _)| at).find(|at| digit(*at)) {
        Some(at) => (&stem[..at], Some(&stem[at + 1..])),
        None => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_carries_its_version_in_its_name() {
        assert_eq!(of_archive("billing-1.2.0"), ("billing", Some("1.2.0")));
        assert_eq!(of_archive("my-billing-2.0-SNAPSHOT"), ("my-billing", Some("2.0-SNAPSHOT")));
        assert_eq!(of_archive("billing"), ("billing", None));
    }

    #[test]
    fn a_folder_that_everybody_has_names_no_service() {
        for generic in ["app", "SRC", "workspace", "x", "", "7up"] {
            assert!(!is_telling(generic), "{generic}");
        }
        assert!(is_telling("pricing"));
    }
}
