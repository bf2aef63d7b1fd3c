//! The programs of the fleet: built by `.ci/install`, or the interpreters of this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each language's service is started with, or why it cannot be.
#[derive(Debug)]
pub(super) struct Kit {
    programs: BTreeMap<&'static str, Result<Vec<OsString>, String>>,
    /// Before everything else in `PATH`.
    path: Option<PathBuf>,
}

impl Kit {
    /// Looks for everything: the environment, then what `.ci/install --paths` has in its cache.
    pub(super) fn find() -> Self {
        let installed = paths();
        let part = |variable: &str, part: &str| {
            let there = std::env::var(variable).ok().or_else(|| installed.get(variable).cloned());
            there.ok_or_else(|| format!("it is not built: .ci/install {part}"))
        };
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let socat = part("OUTRIGGER_SOCAT_BIN", "socat");
        let java = |jar: String| {
            // A small heap and the quick compiler: started often, asked little.
            let flags = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", &jar];
            needs("java").map(|java| words(&[&[java], &flags[..]].concat()))
        };
        let programs = BTreeMap::from([
            ("rust", Ok(Vec::new())),
            ("go", part("OUTRIGGER_FLEET_GO", "fleet-go").map(|go| words(&[&go]))),
            (
                "python",
                part("OUTRIGGER_FLEET_PYTHON", "fleet-python")
                    .map(|python| words(&[&python, "-B", "-m", "pricing"])),
            ),
            ("java", part("OUTRIGGER_FLEET_JAVA", "fleet-java").and_then(java)),
            ("node", needs("node").map(|node| words(&[node, "src/main.js"]))),
            (
                "shell",
                socat.clone().and_then(|_| needs("curl")).map(|_| words(&["sh", "server.sh"])),
            ),
        ]);
        let path = socat.ok().and_then(|socat| Path::new(&socat).parent().map(Path::to_owned));
        Self { programs, path }
    }

    /// Why a language's service cannot run here.
    pub(super) fn missing(&self, language: &str) -> Option<&str> {
        self.programs.get(language)?.as_ref().err().map(String::as_str)
    }

    /// The program of a language's service with its arguments; empty where it is missing.
    pub(super) fn program(&self, language: &str) -> &[OsString] {
        match self.programs.get(language) {
            Some(Ok(words)) => words,
            _ => &[],
        }
    }

    /// Puts `socat` where the shell finds it.
    pub(super) fn prepare(&self, command: &mut Command) {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let all = self.path.iter().cloned().chain(std::env::split_paths(&old));
        if let Ok(path) = std::env::join_paths(all) {
            command.env("PATH", path);
        }
    }
}

fn needs(program: &'static str) -> Result<&'static str, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    there.then_some(program).ok_or_else(|| format!("{program} is not in PATH"))
}

/// Where a part of `.ci/install` is, by the name of its variable.
#[must_use]
pub fn installed(variable: &str) -> Option<String> {
    std::env::var(variable).ok().or_else(|| paths().remove(variable))
}

/// The variables that `.ci/install --paths` tells; none where it cannot run.
fn paths() -> BTreeMap<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/install");
    let Ok(told) = Command::new("bash").args([script, "--paths"]).output() else {
        return BTreeMap::new();
    };
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(variable).collect()
}
