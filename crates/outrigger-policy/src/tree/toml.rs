//! TOML with the places that its parser tells.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Broken, Key, Node, Reading, Value};
use crate::finding::Rule;
use crate::source::Span;

pub(super) fn read(reading: &mut Reading<'_>) -> Result<Node, Broken> {
    let source = reading.source.clone();
    let text = source.text.trim_start_matches('\u{feff}');
    let skipped = source.text.len() - text.len();
    let place =
        |range: std::ops::Range<usize>| Span::new(range.start + skipped, range.end + skipped);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let span = place(error.span().unwrap_or_default());
            let message = format!("this is not TOML: {}", error.message().trim());
            let rule = if error.message().contains("duplicate key") {
                Rule::DuplicateKey
            } else {
                Rule::Syntax
            };
            let fix = match rule {
                Rule::DuplicateKey => "keep one of them",
                _ => "texts stand in double quotes, times as well: timeout = \"5s\"",
            };
            return Err(reading.finding(rule, span, message, fix));
        }
    };
    let span = place(table.span());
    let value = map(reading, table.get_ref(), &place, 1)?;
    Ok(Node { span, value })
}

fn map(
    reading: &mut Reading<'_>,
    table: &DeTable<'_>,
    place: &dyn Fn(std::ops::Range<usize>) -> Span,
    depth: usize,
) -> Result<Value, Broken> {
    let mut entries = Vec::new();
    if let Some((key, _)) = table.iter().nth(super::MAX_KEYS) {
        let message = format!("more than {} keys in one section", super::MAX_KEYS);
        return Err(reading.finding(Rule::Limit, place(key.span()), message, "split the file"));
    }
    for (key, value) in table {
        let span = place(key.span());
        reading.count(span, depth)?;
        let value = node(reading, value, place, depth + 1)?;
        entries.push((Key { span, name: key.get_ref().as_ref().into() }, value));
    }
    // The parser's map is sorted by name; what counts elsewhere is the order of the file.
    entries.sort_by_key(|(key, _)| key.span.start);
    Ok(Value::Map(entries))
}

fn node(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
    place: &dyn Fn(std::ops::Range<usize>) -> Span,
    depth: usize,
) -> Result<Node, Broken> {
    let span = place(value.span());
    reading.count(span, depth)?;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text { text: text.as_ref().into(), plain: false },
        DeValue::Integer(number) => match number.radix() {
            10 => Value::Number(number.as_str().replace('_', "").into()),
            _ => Value::Text { text: reading.source.slice(span).into(), plain: false },
        },
        DeValue::Float(number) => Value::Number(number.as_str().replace('_', "").into()),
        DeValue::Boolean(bool) => Value::Bool(*bool),
        DeValue::Datetime(time) => Value::Text { text: time.to_string().into(), plain: false },
        DeValue::Array(items) => {
            let items = items.iter().map(|item| node(reading, item, place, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => map(reading, table, place, depth)?,
    };
    Ok(Node { span, value })
}
