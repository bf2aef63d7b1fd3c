//! `build.gradle` and `settings.gradle`, in Groovy or Kotlin: the lines that are plain.

use super::file::Folder;
use super::{Guess, Guessed, spring};

pub(super) fn read(folder: &mut Folder) -> Option<Guess> {
    let (file, text) = folder.first(&["build.gradle.kts", "build.gradle"])?;
    let from = folder.name(file);
    let mut guess = spring::read(folder, &text);
    let settings = folder.first(&["settings.gradle.kts", "settings.gradle"]);
    let name = settings.and_then(|(file, text)| {
        assigned(&text, "rootProject.name").map(|name| Guessed::new(name, folder.name(file)))
    });
    guess.fill(Guess {
        service: name,
        version: assigned(&text, "version").map(|version| Guessed::new(version, from.clone())),
        language: Some(Guessed::new("java", from)),
        ..Guess::NOTHING
    });
    Some(guess)
}

/// The text that a line gives to a name: `version = "1.0"`, `version '1.0'`.
fn assigned<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest.trim_start().trim_start_matches('=').trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let value = rest[1..].split(quote).next()?;
        (!value.is_empty() && !value.contains('$')).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read_and_nothing_else() {
        assert_eq!(assigned("plugins {}\nversion = '1.2'\n", "version"), Some("1.2"));
        assert_eq!(assigned("version \"1.2\"", "version"), Some("1.2"));
        assert_eq!(assigned("rootProject.name = \"billing\"", "rootProject.name"), Some("billing"));
        assert_eq!(assigned("    version = '9'", "version"), None, "of something inside");
        assert_eq!(assigned("version = \"$x\"\nversions = 'a'", "version"), None);
    }
}
