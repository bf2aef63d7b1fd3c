//! What is made of the policies and kept in the repository: the manifests of the demo fleet, and the
//! table of verdicts. `OUTRIGGER_BLESS=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_mesh::{Fleet, Options, Target, render, table};
use outrigger_policy::{Format, Parsed, Policy};

const DEMO: [&str; 4] = ["inventory", "orders", "pricing", "storefront"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn policies() -> Vec<Parsed> {
    DEMO.into_iter()
        .map(|name| {
            let file = format!("{name}.yaml");
            let path = root().join("examples/policies").join(&file);
            let text = fs::read_to_string(path).expect("an example");
            Policy::parse(&file, &text, Format::Yaml).expect("it holds")
        })
        .collect()
}

fn is_blessed() -> bool {
    std::env::var_os("OUTRIGGER_BLESS").is_some()
}

#[test]
fn the_manifests_of_the_demo_fleet_are_current() {
    for target in Target::ALL {
        let folder = root().join("mesh").join(target.as_str());
        let rendered: BTreeMap<String, String> =
            render(target, &policies(), &Fleet::default(), &Options::default())
                .expect("renders")
                .into_iter()
                .map(|document| (document.path, document.text))
                .collect();
        if is_blessed() {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).expect("a folder");
            for (name, text) in &rendered {
                fs::write(folder.join(name), text).expect("written");
            }
        }
        let kept: BTreeMap<String, String> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).expect("a text");
                (entry.file_name().to_string_lossy().into_owned(), text)
            })
            .collect();
        let names = |all: &BTreeMap<String, String>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&rendered), "{target}: OUTRIGGER_BLESS=1 writes them");
        for (name, text) in &rendered {
            assert_eq!(&kept[name], text, "{target}: {name}: OUTRIGGER_BLESS=1 writes it");
        }
    }
}

#[test]
fn the_same_policies_make_the_same_bytes_in_any_order() {
    for target in Target::ALL {
        let mut policies = policies();
        let once = render(target, &policies, &Fleet::default(), &Options::default());
        policies.reverse();
        let again = render(target, &policies, &Fleet::default(), &Options::default());
        assert_eq!(once, again, "{target}");
    }
}

#[test]
fn the_table_of_verdicts_is_current() {
    const BEGIN: &str = "<!-- verdicts: made by the test of outrigger-mesh -->\n";
    const END: &str = "<!-- end of verdicts -->";
    let path = root().join("docs/mesh.md");
    let text = fs::read_to_string(&path).expect("the page");
    let (head, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (_, tail) = rest.split_once(END).expect("the end of the table");
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", table());
    if is_blessed() {
        fs::write(&path, &wanted).expect("written");
    } else {
        assert!(text == wanted, "docs/mesh.md: OUTRIGGER_BLESS=1 writes the table");
    }
}
