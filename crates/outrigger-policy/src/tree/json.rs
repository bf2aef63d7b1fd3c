//! JSON by hand: places of keys and values, duplicates told, depth bounded.

use super::{Broken, Key, Node, Reading, Value};
use crate::finding::Rule;
use crate::source::Span;

pub(super) fn read(reading: &mut Reading<'_>) -> Result<Node, Broken> {
    let text = reading.source.text.clone();
    let at = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut parser = Json { reading, text: &text, at };
    parser.space();
    if parser.at == text.len() {
        return Ok(Node { span: Span::new(parser.at, parser.at), value: Value::Null });
    }
    let root = parser.value(1)?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.wrong("something follows the end of the document"));
    }
    Ok(root)
}

struct Json<'a, 'r, 's> {
    reading: &'a mut Reading<'r>,
    text: &'s str,
    at: usize,
}

impl Json<'_, '_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&mut self, what: &str) -> Broken {
        let fix = match self.peek() {
            Some(b'/' | b'#') => "JSON has no comments; YAML and TOML have",
            Some(b'\'') => "JSON quotes with \"",
            Some(b'}' | b']') => "JSON allows no comma before a closing bracket",
            _ => "",
        };
        let span = Span::new(self.at, self.at + 1);
        self.reading.finding(Rule::Syntax, span, format!("this is not JSON: {what}"), fix)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        let start = self.at;
        self.reading.count(Span::new(start, start + 1), depth)?;
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text { text: self.string()?.into(), plain: false },
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => {
                let words = [
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("null", Value::Null),
                ];
                let rest = &self.text[self.at..];
                let Some((word, value)) =
                    words.into_iter().find(|(word, _)| rest.starts_with(word))
                else {
                    return Err(self.wrong("a value is wanted here"));
                };
                self.at += word.len();
                value
            }
        };
        Ok(Node { span: Span::new(start, self.at), value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut entries = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in double quotes is wanted here"));
            }
            let start = self.at;
            let name = self.string()?.into();
            let key = Key { span: Span::new(start, self.at), name };
            self.reading.count(key.span, depth)?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("`:` is wanted after a key"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            self.reading.insert(&mut entries, key, value)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.wrong("`,` or `}` is wanted here")),
            }
        }
        self.at += 1;
        Ok(Value::Map(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.wrong("`,` or `]` is wanted here")),
            }
        }
        self.at += 1;
        Ok(Value::List(items))
    }

    fn number(&mut self) -> Result<Value, Broken> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        // The digits are kept as written: they may fit no number of ours.
        if is_number(text) {
            return Ok(Value::Number(text.into()));
        }
        self.at = start;
        Err(self.wrong("a number is written like 15, -1 or 0.5"))
    }

    /// A string, from quote to quote.
    fn string(&mut self) -> Result<String, Broken> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=31) | None => return Err(self.wrong("a text ends with `\"` on its line")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let written = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(written).map_err(|_| {
            self.at = start;
            self.wrong("a text with an escape that does not exist")
        })
    }
}

/// JSON's grammar of a number: no leading zero, digits on both sides of the point.
fn is_number(text: &str) -> bool {
    let bare = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match bare.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent))
        }
        None => (bare, "0"),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(part) && digits(exponent)
}
