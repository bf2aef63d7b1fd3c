//! `docs/languages.md`, made from what was asserted.

use std::fmt::Write as _;
use std::path::Path;

use outrigger_e2e::polyglot::Service;

use crate::stage::Stage;

/// The rows so far: all cells but the last one are known before the restarts.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<(&'static Service, Vec<&'static str>)>);

const BEGIN: &str = "<!-- made by the end-to-end test: begin -->\n";
const END: &str = "<!-- made by the end-to-end test: end -->\n";

impl Table {
    pub(crate) fn row(&mut self, service: &'static Service, cells: [&'static str; 7]) {
        println!("{} ({}): {}", service.name, service.language, cells.join(" · "));
        self.0.push((service, cells.to_vec()));
    }

    pub(crate) fn last(&mut self, service: &'static Service, drained: &'static str) {
        let row = self.0.iter_mut().find(|(of, _)| of.name == service.name);
        row.expect("a row for each service").1.push(drained);
    }

    fn text(&self) -> String {
        let mut text = "| language | service | registers | is found | calls by name | balanced | \
                        limited | broken | traced | drained |\n|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for (service, cells) in &self.0 {
            let language = match service.language {
                "node" => "Node",
                "rust" => "Rust",
                "go" => "Go",
                "python" => "Python",
                "java" => "Java",
                _ => "shell",
            };
            let folder = format!("../examples/{}", service.folder);
            let _ = writeln!(
                text,
                "| {language} | [{}]({folder}) | {} |",
                service.name,
                cells.join(" | ")
            );
        }
        text
    }

    /// Compares with the document, or writes it.
    ///
    /// # Panics
    /// When they differ; a run without all languages is not compared.
    pub(crate) fn end(&self, stage: &Stage) {
        if !stage.is_whole() {
            eprintln!("SKIPPED docs/languages.md: not all languages run here");
            return;
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/languages.md");
        let old = std::fs::read_to_string(&path).expect("docs/languages.md");
        let (before, rest) = old.split_once(BEGIN).expect("a beginning");
        let (_, after) = rest.split_once(END).expect("an end");
        let new = format!("{before}{BEGIN}{}{END}{after}", self.text());
        if std::env::var_os("OUTRIGGER_BLESS").is_some() {
            std::fs::write(&path, &new).expect("docs/languages.md is written");
        } else {
            assert_eq!(old, new, "docs/languages.md is another run's: OUTRIGGER_BLESS=1 writes it");
        }
        println!("{}", self.text());
    }
}
