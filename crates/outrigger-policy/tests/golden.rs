//! Every message, as it is printed: `tests/golden/NAME.yaml` beside `NAME.txt`.
//!
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-policy --test golden` writes the texts anew; read the
//! difference before it is kept.

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_policy::{Format, Policy, Rule};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "txt"))
        .collect();
    files.sort();
    files
}

fn message_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let text = fs::read_to_string(path).expect(name);
    match Policy::parse(name, &text, Format::of_name(name)) {
        Ok(parsed) => parsed.report().to_string(),
        Err(report) => report.to_string(),
    }
}

#[test]
fn every_message_is_the_one_that_was_read_and_found_good() {
    let bless = std::env::var_os("OUTRIGGER_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let message = message_of(&path);
        let golden = path.with_extension("txt");
        if bless {
            fs::write(&golden, &message).expect("writes");
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(&*message) {
            wrong.push(format!("{}:\n{message}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_message_tells_line_and_rule_and_every_rule_has_one() {
    let all: Vec<(PathBuf, String)> = files()
        .into_iter()
        .map(|path| {
            let m = message_of(&path);
            (path, m)
        })
        .collect();
    assert!(all.len() >= 80, "{} files", all.len());
    for (path, message) in &all {
        assert!(message.contains("[policy::"), "{} says nothing", path.display());
        assert!(message.contains("--> "), "{} has no place", path.display());
    }
    for rule in Rule::ALL {
        let id = format!("[{rule}]");
        assert!(all.iter().any(|(_, message)| message.contains(&id)), "no golden file of {rule}");
    }
}
