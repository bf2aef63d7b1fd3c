//! What the house asks for and a machine can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata of the workspace")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below `dir` whose name ends in `.ending`, build output and data left out.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !path.is_symlink() {
                if !["target", ".git", "node_modules", "data"].iter().any(|n| *n == name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The table of `docs/architecture.md`: crate → (ours, heavy ones) that it may import.
fn allowed() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    read("docs/architecture.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells.get(1)?.strip_prefix("`outrigger")?.strip_suffix('`')?;
            let ours = cells
                .get(3)?
                .split_whitespace()
                .map(|word| match word.trim_matches('`') {
                    "outrigger" => "outrigger".to_owned(),
                    word => format!("outrigger-{word}"),
                })
                .collect();
            let heavy = cells.get(4)?.split_whitespace().map(str::to_owned).collect();
            Some((format!("outrigger{name}"), (ours, heavy)))
        })
        .collect()
}

const HEAVY: [(&str, &str); 14] = [
    ("tokio", "tokio"),
    ("tokio-util", "tokio"),
    ("tokio-rustls", "tokio"),
    ("tokio-stream", "tokio"),
    ("hyper", "hyper"),
    ("hyper-util", "hyper"),
    ("tower", "tower"),
    ("rustls", "rustls"),
    ("opentelemetry", "opentelemetry"),
    ("opentelemetry_sdk", "opentelemetry"),
    ("opentelemetry-otlp", "opentelemetry"),
    ("governor", "governor"),
    ("failsafe", "failsafe"),
    ("axum", "axum"),
];

#[test]
fn imports_go_down_the_layers_only() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for package in &metadata().packages {
        // Examples show how to use the facade; they are nobody's layer.
        if package.manifest_path.as_str().contains("/examples/") {
            continue;
        }
        let Some((ours, heavy)) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} has no row in docs/architecture.md", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            let name = dependency.name.as_str();
            if name.starts_with("outrigger") && !ours.contains(name) {
                wrong.push(format!("{} imports {name}", package.name));
            }
            if let Some((_, class)) = HEAVY.iter().find(|(heavy, _)| *heavy == name)
                && !heavy.contains(*class)
            {
                wrong.push(format!("{} imports {name} ({class})", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that docs/architecture.md does not allow: {wrong:#?}");
}

#[test]
fn every_row_of_the_architecture_table_is_a_crate() {
    let metadata = metadata();
    let crates: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for name in allowed().keys() {
        assert!(crates.contains(name.as_str()), "docs/architecture.md names {name}, which is gone");
    }
}

#[test]
fn a_file_is_read_in_one_sitting() {
    let mut long = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        let place = path.to_string_lossy().replace('\\', "/");
        if place.contains("/tests/") || place.ends_with("tests.rs") || place.contains("/benches/") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let production = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if production > 600 {
            long.push(format!("{place}: {production} lines before its tests"));
        }
    }
    assert!(long.is_empty(), "the cap is 600 production lines: {long:#?}");
}

#[test]
fn modules_are_files_beside_their_folders_and_have_honest_names() {
    for path in files(&root().join("crates"), "rs") {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        assert_ne!(name, "mod.rs", "{}: use foo.rs beside foo/", path.display());
        for bad in ["utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "misc.rs"] {
            assert_ne!(name, bad, "{}: say what is in it", path.display());
        }
    }
}

#[test]
fn nothing_is_left_to_be_done_in_the_code() {
    // Built from parts, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    for path in files(&root().join("crates"), "rs") {
        let text = fs::read_to_string(&path).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            for mark in &marks {
                assert!(
                    !line.contains(mark.as_str()) || line.contains("TODO(#"),
                    "{}:{}: a mark without an issue: {line}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn every_publishable_crate_can_be_published() {
    for package in &metadata().packages {
        if package.publish.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        let folder = package.manifest_path.parent().expect("a folder");
        let name = &package.name;
        assert!(package.description.as_ref().is_some_and(|d| d.len() > 20), "{name}: description");
        assert_eq!(package.license.as_deref(), Some("Apache-2.0 OR MIT"), "{name}: licence");
        assert!(package.repository.is_some(), "{name}: repository");
        assert!(!package.keywords.is_empty(), "{name}: keywords");
        assert!(!package.categories.is_empty(), "{name}: categories");
        for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
            assert!(folder.join(file).exists(), "{name}: {file} is missing");
        }
        assert_eq!(folder.file_name(), Some(name.as_str()), "{name}: folder name = package name");
    }
}

#[test]
fn documents_link_to_what_is_there() {
    let mut dead = Vec::new();
    for path in files(&root(), "md") {
        let text = fs::read_to_string(&path).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = path.parent().expect("a folder");
            if !folder.join(target).exists() {
                dead.push(format!("{} -> {target}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
}

#[test]
fn the_readme_tells_the_version_and_the_toolchain_that_are_built() {
    let cargo = read("Cargo.toml");
    let value = |key: &str| {
        cargo
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('=').map(str::trim))
            .map(|v| v.trim_matches('"').to_owned())
            .unwrap_or_else(|| panic!("Cargo.toml has no {key}"))
    };
    let readme = read("README.md");
    let (version, msrv) = (value("version"), value("rust-version"));
    let short = version.rsplit_once('.').expect("three parts").0;
    assert!(
        readme.contains(&format!("outrigger = \"{short}\"")),
        "README names another version than {version}"
    );
    assert!(readme.contains(&format!("Rust {msrv}")), "README names another Rust than {msrv}");
    assert!(read("rust-toolchain.toml").contains(&msrv), "rust-toolchain.toml pins another Rust");
}

#[test]
fn every_decision_record_says_what_it_must() {
    for path in files(&root().join("docs/adr"), "md") {
        let text = fs::read_to_string(&path).expect("a record").to_lowercase();
        for part in [&["context"][..], &["choice"], &["cost"], &["revisit", "look again"]] {
            let said = part.iter().any(|word| text.contains(word));
            assert!(said, "{} does not speak of {part:?}", path.display());
        }
    }
}

#[test]
fn nothing_tracked_names_one_machine() {
    let forbidden =
        ["/wo".to_owned() + "rk/main", "/wo".to_owned() + "rk/shared", "../sha".to_owned() + "red"];
    for ending in ["rs", "md", "toml", "yml", "yaml", "sh"] {
        for path in files(&root(), ending) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            for path_of_one in &forbidden {
                assert!(!text.contains(path_of_one), "{} names {path_of_one}", path.display());
            }
        }
    }
}
