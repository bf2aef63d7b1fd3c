//! `Cargo.toml`.

use toml::Table;

use super::file::Folder;
use super::{Guess, Guessed};

const FILE: &str = "Cargo.toml";

pub(super) fn read(folder: &mut Folder) -> Option<Guess> {
    let text = folder.text(FILE)?;
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            folder.warn(FILE, toml::de::Error::message(&error));
            return None;
        }
    };
    // A workspace's root names no program.
    let package = table.get("package")?.as_table()?;
    let from = folder.name(FILE);
    let told = |key: &str| {
        package.get(key).and_then(|value| value.as_str()).map(|v| Guessed::new(v, from.clone()))
    };
    Some(Guess {
        service: told("name"),
        version: told("version"),
        language: Some(Guessed::new("rust", from.clone())),
        ..Guess::NOTHING
    })
}
