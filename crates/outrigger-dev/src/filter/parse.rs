//! From text to expression.

use regex_lite::Regex;

use super::schema::{self, Field, Kind};
use super::{Expression, FilterError, Test};
use crate::request::parse_bool;

/// Deeper nesting than any person writes.
const MAX_DEPTH: u32 = 64;

pub(super) fn parse(text: &str, fields: &[Field]) -> Result<Expression, FilterError> {
    let mut parser = Parser { text, at: 0, fields, depth: 0 };
    let expression = parser.either()?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.unexpected("\"and\", \"or\", [ \\t\\r\\n] or EOF"));
    }
    Ok(expression)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    fields: &'a [Field],
    depth: u32,
}

/// A word as written: a selector or a value, which only its place can tell.
struct Word {
    text: String,
    path: Option<Vec<String>>,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Expression, FilterError> {
        let mut left = self.both()?;
        while self.keyword("or") {
            left = Expression::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Expression, FilterError> {
        let mut left = self.one()?;
        while self.keyword("and") {
            left = Expression::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Expression, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError("expression is nested too deep".to_owned()));
        }
        let expression = if self.keyword("not") {
            Expression::Not(Box::new(self.one()?))
        } else if self.symbol("(") {
            let inner = self.either()?;
            if !self.symbol(")") {
                return Err(self.unexpected("\")\""));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn test(&mut self) -> Result<Expression, FilterError> {
        let first = self.word()?;
        if self.symbol("==") {
            let value = self.word()?.text;
            return self.build(first, Test::Equals(value), false);
        }
        if self.symbol("!=") {
            let value = self.word()?.text;
            return self.build(first, Test::Equals(value), true);
        }
        if self.keyword("is") {
            let negated = self.keyword("not");
            if !self.keyword("empty") {
                return Err(self.unexpected("\"empty\" or \"not\""));
            }
            return self.build(first, Test::IsEmpty, negated);
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            let selector = self.word()?;
            return self.build(selector, Test::Holds(first.text), negated);
        }
        if self.keyword("contains") {
            let value = self.word()?.text;
            return self.build(first, Test::Holds(value), negated);
        }
        if self.keyword("matches") {
            let pattern = self.word()?.text;
            let regex = Regex::new(&pattern)
                .map_err(|e| FilterError(format!("Failed to compile regular expression: {e}")))?;
            return self.build(first, Test::Matches(regex), negated);
        }
        Err(self.unexpected(
            "\"!=\", \"==\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or [ \\t\\r\\n]",
        ))
    }

    fn build(&self, selector: Word, test: Test, negated: bool) -> Result<Expression, FilterError> {
        let invalid = || FilterError(format!("Selector {:?} is not valid", selector.text));
        let path = selector.path.clone().ok_or_else(invalid)?;
        let kind = schema::kind(self.fields, &path).ok_or_else(invalid)?;
        let fits = match (&test, kind) {
            (Test::Equals(_), kind) => !matches!(kind, Kind::List | Kind::Map),
            (Test::Holds(_), kind) => !matches!(kind, Kind::Number | Kind::Flag),
            (Test::IsEmpty, kind) => matches!(kind, Kind::List | Kind::Map),
            (Test::Matches(_), kind) => matches!(kind, Kind::Text | Kind::MapValue),
        };
        if !fits {
            let operator = match (&test, negated) {
                (Test::Equals(_), false) => "Equal",
                (Test::Equals(_), true) => "Not Equal",
                (Test::Holds(_), false) => "In",
                (Test::Holds(_), true) => "Not In",
                (Test::IsEmpty, false) => "Is Empty",
                (Test::IsEmpty, true) => "Is Not Empty",
                (Test::Matches(_), false) => "Matches",
                (Test::Matches(_), true) => "Not Matches",
            };
            return Err(FilterError(format!(
                "Invalid match operator {operator:?} for selector {:?}",
                selector.text
            )));
        }
        if let Test::Equals(value) = &test {
            let readable = match kind {
                Kind::Number => value.parse::<i64>().is_ok(),
                Kind::Flag => parse_bool(value).is_some(),
                _ => true,
            };
            if !readable {
                return Err(FilterError(format!(
                    "Failed to coerce value {value:?} for selector {:?}",
                    selector.text
                )));
            }
        }
        Ok(Expression::Match { path, kind, test, negated })
    }

    fn word(&mut self) -> Result<Word, FilterError> {
        self.space();
        let rest = &self.text[self.at..];
        if let Some(quote @ ('"' | '`')) = rest.chars().next() {
            return self.quoted(quote).map(|text| Word { text, path: None });
        }
        let start = self.at;
        let mut path = vec![self.identifier()?];
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with('.') {
                self.at += 1;
                path.push(self.identifier()?);
            } else if rest.starts_with("[\"") {
                self.at += 1;
                path.push(self.quoted('"')?);
                if !self.text[self.at..].starts_with(']') {
                    return Err(self.unexpected("\"]\""));
                }
                self.at += 1;
            } else {
                break;
            }
        }
        Ok(Word { text: self.text[start..self.at].to_owned(), path: Some(path) })
    }

    fn identifier(&mut self) -> Result<String, FilterError> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        if word.is_empty() || matches!(word, "and" | "or" | "not" | "in" | "is") {
            return Err(self.unexpected("\"(\", \"not\", a selector or a value"));
        }
        self.at += end;
        Ok(word.to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let rest = &self.text[self.at + 1..];
        let mut out = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + 2;
                return Ok(out);
            }
            match (c, quote) {
                ('\\', '"') => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, c @ ('"' | '\\'))) => out.push(c),
                    // Kept, so that regular expressions need no second backslash.
                    Some((_, c)) => out.extend(['\\', c]),
                    None => break,
                },
                _ => out.push(c),
            }
        }
        Err(self.unexpected("a closing quote"))
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let before = self.at;
        self.space();
        if self.text[self.at..].starts_with(symbol) {
            self.at += symbol.len();
            return true;
        }
        self.at = before;
        false
    }

    fn keyword(&mut self, word: &str) -> bool {
        let before = self.at;
        self.space();
        if let Some(rest) = self.text[self.at..].strip_prefix(word)
            && !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            self.at += word.len();
            return true;
        }
        self.at = before;
        false
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        let column = self.text[..self.at].chars().count() + 1;
        FilterError(format!("1:{column} ({}): no match found, expected: {expected}", self.at))
    }
}
