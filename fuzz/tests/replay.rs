//! The corpus, and a bounded number of mutations of it, on stable Rust.
//!
//! `OUTRIGGER_SEED=…` chooses other mutations, `OUTRIGGER_FUZZ_RUNS=…` how many of each target (the
//! default is each target's own), `OUTRIGGER_FUZZ_TARGET=…` only one. An input that breaks a law is
//! written into the corpus, so that the next run begins with it.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use outrigger_fuzz::{Mutator, TARGETS, Target, hash};

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn set<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|value| value.trim().parse().ok())
}

/// The corpus of a target, in an order that does not depend on the machine.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let listed = fs::read_dir(folder(target)).into_iter().flatten();
    let mut files: Vec<_> = listed.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let name = |path: &PathBuf| path.file_name().expect("a file").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).expect("a readable file"))).collect()
}

fn holds(target: &Target, input: &[u8]) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok()
}

#[test]
fn every_law_holds_for_the_corpus_and_what_is_near_it() {
    let seed = set("OUTRIGGER_SEED").unwrap_or(35);
    let only: Option<String> = env::var("OUTRIGGER_FUZZ_TARGET").ok();
    let mut broken = Vec::new();
    for target in TARGETS.iter().filter(|t| only.as_deref().is_none_or(|only| only == t.name)) {
        let began = Instant::now();
        let files = corpus(target);
        for (name, input) in &files {
            if !holds(target, input) {
                broken.push(format!("{}/{name}", target.name));
            }
        }
        let inputs: Vec<_> = files.into_iter().map(|(_, input)| input).collect();
        let mut mutator = Mutator::new(&inputs, seed);
        let runs = set("OUTRIGGER_FUZZ_RUNS").unwrap_or(target.mutations);
        for run in 0..runs {
            let input = mutator.make();
            if !holds(target, &input) {
                let path = folder(target).join(format!("broke-{:016x}", hash(&input)));
                fs::write(&path, &input).expect("the corpus can be written to");
                broken.push(format!("{}: run {run}, kept as {}", target.name, path.display()));
                break;
            }
        }
        println!(
            "{}: {} files, {runs} mutations of seed {seed}, {:.1?}",
            target.name,
            inputs.len(),
            began.elapsed()
        );
    }
    assert!(broken.is_empty(), "laws were broken: {broken:#?}");
}

#[test]
fn every_target_has_a_corpus_and_a_binary_and_nothing_else_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str, suffix: &str| {
        let listed = fs::read_dir(root.join(folder)).expect("a folder");
        let mut names: Vec<String> = listed
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
            .collect();
        names.sort();
        names
    };
    let mut wanted: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    wanted.sort();
    assert_eq!(names("corpus", ""), wanted);
    assert_eq!(names("fuzz_targets", ".rs"), wanted);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
        assert!(corpus(target).len() >= 3, "{} begins with next to nothing", target.name);
    }
}
