//! Files of a project, bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most bytes that are read of one file.
const MOST: u64 = 256 << 10;

/// A folder that is looked at, and what was wrong in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// What stands before a file's name in messages.
    shown: PathBuf,
    pub(super) warnings: Vec<String>,
}

impl Folder {
    pub(super) fn new(directory: &Path, path: &Path) -> Self {
        let shown = path.strip_prefix(directory).unwrap_or(path).to_owned();
        Self { path: path.to_owned(), shown, warnings: Vec::new() }
    }

    /// How a file of it is named in messages.
    pub(super) fn name(&self, file: &str) -> String {
        self.shown.join(file).display().to_string()
    }

    /// The text of a file; `None` when it is not there, or with a warning when it cannot be read.
    pub(super) fn text(&mut self, file: &str) -> Option<String> {
        match text(&self.path.join(file)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.warn(file, &error.to_string());
                None
            }
        }
    }

    /// The first of some files that is there.
    pub(super) fn first(&mut self, files: &[&'static str]) -> Option<(&'static str, String)> {
        files.iter().find_map(|file| self.text(file).map(|text| (*file, text)))
    }

    /// Tells that a file is of no use.
    pub(super) fn warn(&mut self, file: &str, why: &str) {
        let why: String = why.lines().next().unwrap_or_default().chars().take(160).collect();
        self.warnings.push(format!("{} says nothing: {why}", self.name(file)));
    }
}

fn text(path: &Path) -> io::Result<String> {
    let bytes = bytes(path, MOST + 1)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("it is longer than {} KiB", MOST >> 10)));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The beginning of a file. A pipe or a device is refused: reading it could wait for ever.
pub(super) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
