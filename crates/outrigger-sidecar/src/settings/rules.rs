//! Rules that are said without a policy: `OUTRIGGER_<SECTION>__<KEY>`, and the library's file.

use std::io;
use std::path::Path;

use outrigger::SettingsError as LibraryError;

use super::KEYS;

/// Reads the rules of the library's own settings: `outrigger.toml` in `directory` and variables
/// such as `OUTRIGGER_RETRY__ATTEMPTS`. Whatever is a flag of the sidecar is left out: it has been
/// read as one, and `OUTRIGGER_CONFIG` names another file here.
///
/// # Errors
/// As the library's: file or variable, value, and what is allowed.
pub fn rules(
    directory: &Path,
    variables: &[(String, String)],
) -> Result<outrigger::Settings, LibraryError> {
    let path = directory.join("outrigger.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(LibraryError::Unreadable { path, source }),
    };
    let is_flag =
        |name: &str| name == "OUTRIGGER_CONFIG" || KEYS.iter().any(|key| key.variable == name);
    let rest =
        variables.iter().filter(|(name, _)| name.starts_with("OUTRIGGER_") && !is_flag(name));
    let rest: Vec<_> = rest.cloned().collect();
    outrigger::Settings::of(text.as_deref().map(|text| (path.as_path(), text)), &rest)
}
