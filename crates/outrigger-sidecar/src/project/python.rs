//! `pyproject.toml`.

use toml::Table;

use super::file::Folder;
use super::{Guess, Guessed};

const FILE: &str = "pyproject.toml";

pub(super) fn read(folder: &mut Folder) -> Option<Guess> {
    let text = folder.text(FILE)?;
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            folder.warn(FILE, toml::de::Error::message(&error));
            return None;
        }
    };
    let from = folder.name(FILE);
    let project = table.get("project").and_then(|value| value.as_table());
    let poetry = || table.get("tool")?.as_table()?.get("poetry")?.as_table();
    let told = |key: &str| {
        let of = |table: &Table| table.get(key)?.as_str().map(str::to_owned);
        project.and_then(of).or_else(|| poetry().and_then(of))
    };
    Some(Guess {
        service: told("name").map(|name| Guessed::new(name, from.clone())),
        version: told("version").map(|version| Guessed::new(version, from.clone())),
        language: Some(Guessed::new("python", from.clone())),
        ..Guess::NOTHING
    })
}
