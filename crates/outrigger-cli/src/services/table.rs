//! Tables for people.

use std::collections::{BTreeMap, BTreeSet};
use std::io::stdout;
use std::sync::Arc;

use outrigger::core::{Instance, ServiceName, Status};

use crate::paint::Paint;

/// A line for each service.
pub(super) fn services(instances: &[Arc<Instance>]) -> String {
    let mut by_service: BTreeMap<&ServiceName, Vec<&Instance>> = BTreeMap::new();
    for instance in instances {
        by_service.entry(&instance.service).or_default().push(instance);
    }
    let count = |all: &[&Instance], status| all.iter().filter(|i| i.status == status).count();
    let rows = by_service.iter().map(|(service, all)| {
        vec![
            service.to_string(),
            each(all, |i| i.language.as_ref().map(ToString::to_string)),
            each(all, |i| i.version.as_deref().map(str::to_owned)),
            count(all, Status::Passing).to_string(),
            count(all, Status::Warning).to_string(),
            count(all, Status::Critical).to_string(),
            each(all, |i| i.zone.as_deref().map(str::to_owned)),
            each(all, |i| Some(i.dialect.as_str().to_owned())),
        ]
    });
    let head =
        ["SERVICE", "LANGUAGE", "VERSION", "PASSING", "WARNING", "CRITICAL", "ZONE", "DIALECT"];
    table(&head, rows.collect())
}

/// A line for each instance.
pub(super) fn instances(instances: &[Arc<Instance>]) -> String {
    let text = |value: &Option<Arc<str>>| value.as_deref().unwrap_or(NONE).to_owned();
    let rows = instances.iter().map(|i| {
        vec![
            i.service.to_string(),
            i.id.to_string(),
            i.address.to_string(),
            i.status.as_str().to_owned(),
            i.language.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string),
            text(&i.version),
            text(&i.zone),
            i.dialect.as_str().to_owned(),
        ]
    });
    let head = ["SERVICE", "ID", "ADDRESS", "STATUS", "LANGUAGE", "VERSION", "ZONE", "DIALECT"];
    table(&head, rows.collect())
}

const NONE: &str = "–";

/// The different values of all, once each.
fn each(all: &[&Instance], of: impl Fn(&Instance) -> Option<String>) -> String {
    let values: BTreeSet<String> = all.iter().filter_map(|instance| of(instance)).collect();
    if values.is_empty() {
        return NONE.to_owned();
    }
    values.into_iter().collect::<Vec<_>>().join(",")
}

/// Columns as wide as their widest cell; what a registry says is shown without its control
/// characters.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let plain = |cell: &String| cell.chars().filter(|c| !c.is_control()).collect::<String>();
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(plain).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = Paint::of(&stdout()).faint(&line(&mut head.iter().copied()));
    let rows = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_nothing_of_a_registry_reaches_the_terminal_as_a_command() {
        let rows = vec![
            vec!["inventory".to_owned(), "1\u{1b}[31m".to_owned()],
            vec!["b".to_owned(), "2".to_owned()],
        ];
        assert_eq!(table(&["NAME", "N"], rows), "NAME       N\ninventory  1[31m\nb          2");
    }
}
