//! The reference page.

use std::fmt::Write;

use crate::fields::{Absent, Kind, POLICY, Section};
use crate::finding::{Rule, Severity};

pub(super) fn page() -> String {
    let mut out = String::new();
    let mut todo: Vec<(String, &'static Section)> = vec![(String::new(), &POLICY)];
    let mut at = 0;
    let mut done: Vec<*const Section> = Vec::new();
    while let Some((path, table)) = todo.get(at).cloned() {
        at += 1;
        if done.contains(&std::ptr::from_ref(table)) {
            continue;
        }
        done.push(std::ptr::from_ref(table));
        section(&path, table, &mut out);
        let below = table.fields.iter().filter_map(|field| {
            let suffix = if matches!(field.kind, Kind::List { .. }) { "[]" } else { "" };
            let of = table_below(&field.kind)?;
            let path = crate::check::join(&path, field.key);
            let map = if matches!(field.kind, Kind::Map { .. }) { ".NAME" } else { "" };
            Some((format!("{path}{suffix}{map}"), of))
        });
        // Depth first, in the order of the fields.
        let below: Vec<_> = below.collect();
        todo.splice(at..at, below);
    }
    tests(&mut out);
    rules(&mut out);
    out
}

fn table_below(kind: &Kind) -> Option<&'static Section> {
    match kind {
        Kind::Table(table) | Kind::OneOf(table) => Some(table),
        Kind::Either(kinds) => kinds.iter().find_map(table_below),
        Kind::List { of, .. } | Kind::Map { of, .. } => table_below(of),
        _ => None,
    }
}

fn section(path: &str, table: &Section, out: &mut String) {
    let title = if path.is_empty() { "The top level".to_owned() } else { format!("`{path}`") };
    // Writing to a text cannot fail.
    let _ = writeln!(out, "### {title}\n\n{}\n", table.doc);
    let _ = writeln!(out, "| key | allowed | default | what it does |\n|---|---|---|---|");
    for field in table.fields {
        let default = match field.default {
            Absent::Is(value) => format!("`{value}`"),
            Absent::Means(words) | Absent::Inside(words) => words.to_owned(),
            Absent::Refused => "must be there".to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} For instance `{}`. |",
            field.key,
            cell(&allowed(&field.kind)),
            cell(&default),
            cell(field.doc),
            cell(field.example)
        );
    }
    let _ = writeln!(out);
}

/// What is allowed, with what each word means.
fn allowed(kind: &Kind) -> String {
    match kind {
        Kind::Word(words) => {
            let words: Vec<_> =
                words.iter().map(|(word, doc)| format!("`{word}` ({doc})")).collect();
            words.join(", ")
        }
        Kind::Table(_) | Kind::OneOf(_) => "a section".to_owned(),
        Kind::List { of, max } if table_below(of).is_some() => {
            format!("a list of at most {max} sections")
        }
        Kind::Map { of, max, .. } if table_below(of).is_some() => {
            format!("at most {max} names, each with a value or a section")
        }
        Kind::Either(kinds) => {
            let kinds: Vec<_> = kinds.iter().map(allowed).collect();
            kinds.join(", or ")
        }
        other => other.allowed(),
    }
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn tests(out: &mut String) {
    let _ = writeln!(out, "### Test files\n");
    for (path, table) in crate::trial::tables() {
        let _ = writeln!(out, "**{path}** {}\n", table.doc);
        let _ = writeln!(out, "| key | allowed | what it does |\n|---|---|---|");
        for field in table.fields {
            let must = if field.default == Absent::Refused { " Must be there." } else { "" };
            let _ = writeln!(
                out,
                "| `{}` | {} | {}{must} For instance `{}`. |",
                field.key,
                cell(&allowed(&field.kind)),
                cell(field.doc),
                cell(field.example)
            );
        }
        let _ = writeln!(out);
    }
}

fn rules(out: &mut String) {
    let _ = writeln!(out, "### Rules that a file must keep\n");
    let _ = writeln!(out, "| rule | severity | what it holds against a file |\n|---|---|---|");
    for severity in [Severity::Error, Severity::Warning] {
        for rule in Rule::ALL.iter().filter(|rule| rule.severity() == severity) {
            let _ = writeln!(out, "| `{rule}` | {} |{} |", severity.as_str(), cell(rule.doc()));
        }
    }
}
