//! What Spring Boot's configuration adds to a Java project: its name, its port, its health path.

use outrigger_policy::{Format, Written, WrittenValue};

use super::file::Folder;
use super::{Guess, Guessed};

const PLACES: [&str; 6] = [
    "src/main/resources/application.yml",
    "src/main/resources/application.yaml",
    "src/main/resources/application.properties",
    "application.yml",
    "application.yaml",
    "application.properties",
];

/// Reads the configuration beside a build file with this text.
pub(super) fn read(folder: &mut Folder, build: &str) -> Guess {
    let mut guess = Guess::default();
    let found = folder.first(&PLACES);
    if let Some((file, text)) = &found {
        let from = folder.name(file);
        let told = |key: &str| match file.ends_with(".properties") {
            true => Ok(property(text, key)),
            false => yaml(file, text, key),
        };
        match told("spring.application.name") {
            Ok(name) => {
                let name = name.as_deref().and_then(plain);
                guess.service = name.map(|name| Guessed::new(name, from.clone()));
            }
            Err(why) => folder.warn(file, &why),
        }
        // Spring does not look at PORT: a port that is written down is where it listens.
        // One that is filled in from outside, such as `${PORT:8080}`, is where we say.
        let port = told("server.port").ok().flatten().filter(|port| !port.contains("${"));
        guess.port = port.map(|port| Guessed::new(port, from));
    }
    // Without a path of its own; whoever moved it says so with `--health`.
    let is_moved = found
        .is_some_and(|(_, text)| text.contains("base-path") || text.contains("management.server"));
    guess.health = match build {
        _ if is_moved => None,
        build if build.contains("spring-boot-starter-actuator") => {
            Some(Guessed::new("/actuator/health", "the actuator among what is built with"))
        }
        build if build.contains("quarkus-smallrye-health") => {
            Some(Guessed::new("/q/health", "SmallRye Health among what is built with"))
        }
        _ => None,
    };
    guess
}

fn property(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?.trim_start();
        let value = rest.strip_prefix(['=', ':'])?.trim();
        Some(value.to_owned())
    })
}

fn yaml(file: &str, text: &str, key: &str) -> Result<Option<String>, String> {
    // Later documents belong to profiles.
    let start = text.strip_prefix("---\n").unwrap_or(text);
    let first = start.split("\n---").next().unwrap_or_default();
    let written = Written::read(file, first, Format::Yaml).map_err(|report| report.first_line())?;
    Ok(at(written.root(), key).map(str::to_owned))
}

/// The value of a dotted key, however much of it stands on one line.
fn at<'w>(value: WrittenValue<'w>, key: &str) -> Option<&'w str> {
    if key.is_empty() {
        return value.scalar();
    }
    value.entries().find_map(|(name, _, below)| {
        let rest = key.strip_prefix(name)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        at(below, rest)
    })
}

/// A value without placeholders; of `${NAME:billing}` what holds when nobody sets it.
fn plain(value: &str) -> Option<String> {
    let value = value.trim().trim_matches(['"', '\'']);
    let value = match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) => inner.split_once(':')?.1,
        None => value,
    };
    (!value.is_empty() && !value.contains("${")).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_however_it_is_nested() {
        for text in [
            "spring:\n  application:\n    name: billing\n",
            "spring.application.name: billing\n",
            "spring:\n  application.name: billing\n---\nspring:\n  application:\n    name: x\n",
            "spring:\n  application:\n    name: ${SERVICE:billing}\n",
        ] {
            let name = yaml("a.yml", text, "spring.application.name").expect("reads");
            assert_eq!(name.as_deref().and_then(plain).as_deref(), Some("billing"), "{text}");
        }
        let properties = "# x\nspring.application.name = billing\nserver.port=8081\n";
        assert_eq!(property(properties, "spring.application.name").as_deref(), Some("billing"));
        assert_eq!(property(properties, "server.port").as_deref(), Some("8081"));
    }

    #[test]
    fn of_a_placeholder_the_default_counts_and_without_one_nothing() {
        assert_eq!(plain("${SERVICE:billing}").as_deref(), Some("billing"));
        for nothing in ["${SERVICE}", "", "a-${b}"] {
            assert_eq!(plain(nothing), None, "{nothing}");
        }
    }
}
