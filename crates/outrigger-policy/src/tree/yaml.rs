//! YAML by events, with limits that hold while it is read.

use granit_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};

use super::{Broken, Key, Node, Reading, Value, shown};
use crate::finding::Rule;
use crate::source::Span;

/// What is open: a list, or a map with the key that waits for its value.
enum Open {
    List(Span, Vec<Node>),
    Map(Span, Vec<(Key, Node)>, Option<Key>),
}

pub(super) fn read(reading: &mut Reading<'_>) -> Result<Node, Broken> {
    let source = reading.source.clone();
    // The parser counts a byte order mark as a part of the text; places are moved past it.
    let text = source.text.trim_start_matches('\u{feff}');
    let skipped = source.text.len() - text.len();
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        strict_indentation: true,
        flow_nesting_limit: super::MAX_DEPTH + 8,
        block_nesting_limit: super::MAX_DEPTH + 8,
    };
    let place = |span: &YamlSpan| {
        let range = span.byte_range().unwrap_or_default();
        Span::new(range.start + skipped, range.end + skipped)
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => return Err(syntax(reading, &error, skipped)),
        };
        let at = place(&span);
        if let Some(tag) = event.tag() {
            let start = span.tag_start().and_then(|mark| mark.byte_offset());
            let message = format!("a tag, `{}`; a policy has none", shown(&tag.original()));
            let at = start.map_or(at, |start| Span::new(start + skipped, at.end));
            return Err(reading.finding(Rule::Tag, at, message, "leave it out"));
        }
        let done = match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let message = format!("an alias, `{}`; a policy has none", shown(source.slice(at)));
                let fix = "write the value out: aliases let a small text stand for an endless one";
                return Err(reading.finding(Rule::Alias, at, message, fix));
            }
            Event::Anchor(..) => {
                let message =
                    format!("an anchor, `{}`; a policy has none", shown(source.slice(at)));
                return Err(reading.finding(Rule::Alias, at, message, "leave it out"));
            }
            Event::DocumentStart(..) if root.is_some() => {
                let fix = "one file is one policy: put the second one into a file of its own";
                let message = "a second document begins here";
                return Err(reading.finding(Rule::Documents, at, message, fix));
            }
            Event::SequenceStart(..) => {
                reading.count(at, open.len() + 1)?;
                key_is_text(reading, &open, at)?;
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                reading.count(at, open.len() + 1)?;
                key_is_text(reading, &open, at)?;
                open.push(Open::Map(at, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(start, items)) => {
                    Node { span: start.to(at), value: Value::List(items) }
                }
                Some(Open::Map(start, entries, _)) => {
                    Node { span: start.to(at), value: Value::Map(entries) }
                }
                None => continue,
            },
            Event::Scalar(text, style, ..) => {
                reading.count(at, open.len() + 1)?;
                if let Some(Open::Map(_, _, waiting @ None)) = open.last_mut() {
                    if &*text == "<<" && style == ScalarStyle::Plain {
                        let fix = "write the keys out: what a route leaves out comes from above";
                        let message = "a merge key, `<<`; a policy has none";
                        return Err(reading.finding(Rule::Alias, at, message, fix));
                    }
                    *waiting = Some(Key { span: at, name: text.into() });
                    continue;
                }
                Node { span: at, value: scalar(&text, style) }
            }
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(Open::List(_, items)) => items.push(done),
            Some(Open::Map(_, entries, waiting)) => {
                if let Some(key) = waiting.take() {
                    reading.insert(entries, key, done)?;
                }
            }
        }
    }
    let whole = Span::new(skipped, source.text.len());
    Ok(root.unwrap_or(Node { span: whole, value: Value::Null }))
}

/// A list or a map where a key is wanted is `? [a, b]`, or a `{{ template }}`.
fn key_is_text(reading: &mut Reading<'_>, open: &[Open], at: Span) -> Result<(), Broken> {
    match open.last() {
        Some(Open::Map(_, _, None)) => {
            let fix = "a key is a plain word; a template such as {{ x }} must be filled in first";
            Err(reading.finding(
                Rule::Syntax,
                at,
                "a list or a section stands where a key is wanted",
                fix,
            ))
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text { text: text.into(), plain: false };
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ => Value::Text { text: text.into(), plain: true },
    }
}

/// Whether an unquoted word is a text.
pub(super) fn is_plain_text(text: &str) -> bool {
    matches!(scalar(text, ScalarStyle::Plain), Value::Text { .. })
}

/// A decimal number, or one of YAML's words for what is none.
fn is_number(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(bare, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match bare.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (bare, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let exponent =
        exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    let mantissa = match mantissa.split_once('.') {
        Some((whole, part)) => {
            (digits(whole) && (part.is_empty() || digits(part)))
                || (whole.is_empty() && digits(part))
        }
        None => digits(mantissa),
    };
    mantissa && exponent
}

fn syntax(reading: &mut Reading<'_>, error: &granit_parser::ScanError, skipped: usize) -> Broken {
    let mark = error.marker();
    let start = mark.byte_offset().map_or(0, |at| at + skipped);
    let span = Span::new(start, start + 1);
    let message = error.kind().to_string();
    let line = reading.source.line(reading.source.place(span).line).unwrap_or_default();
    let fix = if line.contains('\t') {
        "YAML indents with spaces, never with tabs"
    } else if line.contains("{{") || line.contains("{%") {
        "this looks like a template: fill it in before it is read"
    } else if line.starts_with("<<<<<<<")
        || line.starts_with(">>>>>>>")
        || line.starts_with("=======")
    {
        "this looks like a merge conflict: resolve it first"
    } else {
        "look at the indentation, a missing `:` or quote, and open brackets on this line and above"
    };
    if message.contains("recursion limit") {
        let message = format!("nested more than {} deep", super::MAX_DEPTH);
        let fix = "no section of a policy is nested deeper than 8; look for a missing bracket";
        return reading.finding(Rule::Limit, span, message, fix);
    }
    reading.finding(Rule::Syntax, span, format!("this is not YAML: {message}"), fix)
}
