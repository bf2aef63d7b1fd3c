//! A file in its one form.

use super::build::{Body, Document, Entry, Line};
use crate::fields::{Kind, POLICY, Section};
use crate::scalar::is_trap;
use crate::tree::{Node, Value, is_plain_text};

/// What a line in brackets may take.
const WIDTH: usize = 100;
/// Beyond this, comments at the end of lines are not aligned with their neighbours'.
const ALIGNED: usize = 60;

/// A line, and the comment at its end.
#[derive(Debug, Default)]
struct Row {
    text: String,
    right: Option<String>,
}

pub(super) fn yaml(document: &Document<'_>) -> String {
    let mut rows = Vec::new();
    for (at, line) in document.header.iter().enumerate() {
        comment(line, at > 0, 0, &mut rows);
    }
    if document.parted {
        rows.push(Row::default());
    }
    match &document.body {
        Body::Map { entries, last } => map(entries, last, 0, &mut rows),
        Body::List { entries, last } => list(entries, last, 0, &mut rows),
        Body::Inline(node, _) if node.value == Value::Null => {}
        Body::Inline(node, table) => block(node, *table, 0, &mut rows),
    }
    join(&rows)
}

fn comment(line: &Line, may_part: bool, indent: usize, rows: &mut Vec<Row>) {
    if line.after_blank && may_part {
        rows.push(Row::default());
    }
    rows.push(Row { text: " ".repeat(indent) + &line.text, right: None });
}

fn above(entry: &Entry<'_>, is_first: bool, indent: usize, rows: &mut Vec<Row>) {
    for (at, line) in entry.above.iter().enumerate() {
        comment(line, at > 0 || !is_first, indent, rows);
    }
    if entry.after_blank && !(is_first && entry.above.is_empty()) {
        rows.push(Row::default());
    }
}

fn map(entries: &[Entry<'_>], last: &[Line], indent: usize, rows: &mut Vec<Row>) {
    for (at, entry) in entries.iter().enumerate() {
        above(entry, at == 0, indent, rows);
        let key = format!("{}{}:", " ".repeat(indent), text(entry.key.unwrap_or_default()));
        value(entry, key, indent, rows);
    }
    for line in last {
        comment(line, true, indent, rows);
    }
}

fn value(entry: &Entry<'_>, key: String, indent: usize, rows: &mut Vec<Row>) {
    let right = entry.right.clone();
    match &entry.body {
        Body::Map { entries, last } => {
            rows.push(Row { text: key, right });
            map(entries, last, indent + 2, rows);
        }
        Body::List { entries, last } => {
            rows.push(Row { text: key, right });
            list(entries, last, indent + 2, rows);
        }
        Body::Inline(node, table) => {
            let inline = inline(node, *table);
            let is_long = key.chars().count() + 1 + inline.chars().count() > WIDTH;
            let is_open = matches!(&node.value, Value::Map(_) | Value::List(_))
                && !(node.entries().is_empty() && node.items().is_empty());
            if is_long && is_open {
                rows.push(Row { text: key, right });
                block(node, *table, indent + 2, rows);
            } else {
                rows.push(Row { text: format!("{key} {inline}"), right });
            }
        }
    }
}

fn list(entries: &[Entry<'_>], last: &[Line], indent: usize, rows: &mut Vec<Row>) {
    for (at, entry) in entries.iter().enumerate() {
        above(entry, at == 0, indent, rows);
        let start = rows.len();
        match &entry.body {
            Body::Map { entries, last } => map(entries, last, indent + 2, rows),
            Body::List { entries, last } => list(entries, last, indent + 2, rows),
            Body::Inline(node, table) => {
                let inline = inline(node, *table);
                if indent + 2 + inline.chars().count() > WIDTH && !node.entries().is_empty() {
                    block(node, *table, indent + 2, rows);
                } else {
                    rows.push(Row { text: " ".repeat(indent + 2) + &inline, right: None });
                }
            }
        }
        dash(rows, start, indent);
        if let (Some(right), Some(row)) = (&entry.right, rows.get_mut(start)) {
            row.right = Some(right.clone());
        }
    }
    for line in last {
        comment(line, true, indent, rows);
    }
}

/// Puts the dash before the first line that is no comment.
fn dash(rows: &mut [Row], start: usize, indent: usize) {
    let is_content =
        |row: &Row| !row.text.trim().is_empty() && !row.text.trim_start().starts_with('#');
    let first = rows[start..].iter().position(is_content).map(|at| start + at);
    if let Some(row) = first.and_then(|at| rows.get_mut(at)) {
        let rest = row.text.get(indent + 2..).unwrap_or_default().to_owned();
        row.text = format!("{}- {rest}", " ".repeat(indent));
    }
}

/// What stood in brackets and is too long for it.
fn block(node: &Node, table: Option<&'static Section>, indent: usize, rows: &mut Vec<Row>) {
    let below =
        |key: &str| table.and_then(|table| table.field(key)).and_then(|field| of(&field.kind));
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in ordered(entries, table) {
                let lead = format!("{}{}:", " ".repeat(indent), text(&key.name));
                let entry = Entry {
                    above: Vec::new(),
                    after_blank: false,
                    key: Some(&key.name),
                    right: None,
                    body: Body::Inline(value, below(&key.name)),
                };
                self::value(&entry, lead, indent, rows);
            }
        }
        Value::List(items) => {
            let entries: Vec<_> = items
                .iter()
                .map(|item| Entry {
                    above: Vec::new(),
                    after_blank: false,
                    key: None,
                    right: None,
                    body: Body::Inline(item, table),
                })
                .collect();
            list(&entries, &[], indent, rows);
        }
        _ => rows.push(Row { text: " ".repeat(indent) + &inline(node, table), right: None }),
    }
}

fn of(kind: &'static Kind) -> Option<&'static Section> {
    match kind {
        Kind::List { of: inner, .. } => of(inner),
        Kind::Either(kinds) => kinds.iter().find_map(of),
        kind => kind.table(),
    }
}

fn ordered<'n>(
    entries: &'n [(crate::tree::Key, Node)],
    table: Option<&'static Section>,
) -> Vec<&'n (crate::tree::Key, Node)> {
    let mut entries: Vec<_> = entries.iter().collect();
    if let Some(table) = table {
        entries.sort_by_key(|(key, _)| {
            table.fields.iter().position(|field| field.key == &*key.name).unwrap_or(usize::MAX)
        });
    }
    entries
}

/// A value on one line.
fn inline(node: &Node, table: Option<&'static Section>) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text { text: found, .. } => text(found),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::List(items) => {
            let parts: Vec<_> = items.iter().map(|item| inline(item, table)).collect();
            let nested =
                items.iter().any(|item| matches!(item.value, Value::Map(_) | Value::List(_)));
            let parts = parts.join(", ");
            if nested { format!("[ {parts} ]") } else { format!("[{parts}]") }
        }
        Value::Map(entries) => {
            let parts: Vec<_> = ordered(entries, table)
                .into_iter()
                .map(|(key, value)| {
                    let below = table.and_then(|table| table.field(&key.name));
                    let below = below.and_then(|field| of(&field.kind));
                    format!("{}: {}", text(&key.name), inline(value, below))
                })
                .collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

/// A text: plain where no reader of YAML can take it for something else, in double quotes elsewhere.
fn text(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    let inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '+' | '%');
    if text.starts_with(first)
        && text.chars().all(inner)
        && text.len() <= 256
        && is_plain_text(text)
        && !is_trap(text)
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The rows as a text; comments of neighbours begin in one column.
fn join(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(row) = rows.get(at) {
        if row.right.is_none() {
            out.push_str(row.text.trim_end());
            out.push('\n');
            at += 1;
            continue;
        }
        let width = |row: &Row| row.text.chars().count();
        let indent = |row: &Row| row.text.len() - row.text.trim_start().len();
        let beside = |other: &&Row| other.right.is_some() && indent(other) == indent(row);
        let run = rows[at..].iter().take_while(beside).count();
        let run = &rows[at..at + run];
        let column = run.iter().map(width).filter(|width| *width <= ALIGNED).max().unwrap_or(0);
        for row in run {
            let pad = column.saturating_sub(width(row)) + 2;
            out.push_str(&row.text);
            out.push_str(&" ".repeat(pad));
            out.push_str(row.right.as_deref().unwrap_or_default());
            out.push('\n');
        }
        at += run.len();
    }
    out
}

/// JSON with two spaces, keys in the order of the reference.
pub(super) fn json(tree: &Node) -> String {
    let mut out = String::new();
    json_value(tree, Some(&POLICY), 0, &mut out);
    out.push('\n');
    out
}

fn json_value(node: &Node, table: Option<&'static Section>, indent: usize, out: &mut String) {
    let line = |indent: usize| format!("\n{}", " ".repeat(indent));
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Number(number) => out.push_str(number),
        Value::Text { text, .. } => out.push_str(&serde_json::Value::from(&**text).to_string()),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&line(indent + 2));
                json_value(item, table, indent + 2, out);
            }
            out.push_str(&line(indent));
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, value)) in ordered(entries, table).into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&line(indent + 2));
                out.push_str(&serde_json::Value::from(&*key.name).to_string());
                out.push_str(": ");
                let below = table.and_then(|table| table.field(&key.name));
                json_value(value, below.and_then(|field| of(&field.kind)), indent + 2, out);
            }
            out.push_str(&line(indent));
            out.push('}');
        }
    }
}
