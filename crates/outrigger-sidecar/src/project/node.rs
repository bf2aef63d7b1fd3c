//! `package.json`.

use serde_json::Value;

use super::file::Folder;
use super::{Guess, Guessed};

const FILE: &str = "package.json";

pub(super) fn read(folder: &mut Folder) -> Option<Guess> {
    let text = folder.text(FILE)?;
    let value: Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => {
            folder.warn(FILE, &error.to_string());
            return None;
        }
    };
    let from = folder.name(FILE);
    let told = |key: &str| value.get(key).and_then(Value::as_str);
    // `@shop/storefront` is the storefront of a shop.
    let name = told("name").map(|name| name.rsplit('/').next().unwrap_or(name));
    Some(Guess {
        service: name.map(|name| Guessed::new(name, from.clone())),
        version: told("version").map(|version| Guessed::new(version, from.clone())),
        language: Some(Guessed::new("node", from.clone())),
        ..Guess::NOTHING
    })
}
