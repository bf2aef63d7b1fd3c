//! `docs/metrics.md` and the code say the same.

use std::collections::BTreeMap;
use std::path::Path;

use outrigger_telemetry::CATALOGUE;

struct Row {
    unit: String,
    kind: String,
    labels: Vec<String>,
    advice: String,
}

/// Rows of the form | `name` | unit | kind | labels | what it says | what to do |.
fn rows() -> BTreeMap<String, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).expect("docs/metrics.md is part of the checkout");
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            let [name, unit, kind, labels, _, advice] = cells[..] else { return None };
            let labels =
                labels.split(',').map(cell).filter(|l| !l.is_empty() && l != "–").collect();
            let (unit, kind, advice) = (cell(unit), cell(kind), cell(advice));
            Some((cell(name), Row { unit, kind, labels, advice }))
        })
        .collect()
}

#[test]
fn every_metric_is_explained_as_it_is() {
    let rows = rows();
    for metric in CATALOGUE {
        let row =
            rows.get(metric.name).unwrap_or_else(|| panic!("{} is not explained", metric.name));
        assert_eq!(row.unit, metric.unit, "unit of {}", metric.name);
        assert_eq!(row.kind, metric.kind.as_str(), "kind of {}", metric.name);
        assert_eq!(row.labels, metric.labels, "labels of {}", metric.name);
        assert!(row.advice.len() > 20, "{}: what to do when it moves", metric.name);
    }
}

#[test]
fn nothing_is_explained_that_is_not_there() {
    for name in rows().keys() {
        assert!(CATALOGUE.iter().any(|metric| metric.name == name), "{name} is no metric");
    }
}

#[test]
fn names_are_in_the_form_that_the_house_wants() {
    for metric in CATALOGUE {
        let known = metric.name.starts_with("outrigger.") || metric.name.starts_with("http.");
        assert!(known && metric.name.split('.').count() >= 2, "{}", metric.name);
        assert!(metric.unit == "s" || metric.unit.starts_with('{'), "{}", metric.unit);
        assert!(!metric.help.ends_with('.'), "{}", metric.name);
    }
}
