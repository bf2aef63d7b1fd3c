//! Each comment beside what it is about.

use std::collections::VecDeque;

use super::comments::{self, Comment, is_blank};
use crate::fields::{Kind, POLICY, Section};
use crate::source::Source;
use crate::tree::{Node, Value};

/// A file, ready to be printed.
#[derive(Debug)]
pub(super) struct Document<'n> {
    /// What stands before the first key.
    pub(super) header: Vec<Line>,
    /// Whether a blank line parts it from the first key.
    pub(super) parted: bool,
    pub(super) body: Body<'n>,
}

/// A comment on a line of its own.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) after_blank: bool,
    /// Its line in the text that was read.
    line: usize,
}

/// A key or an entry of a list, with its comments.
#[derive(Debug)]
pub(super) struct Entry<'n> {
    pub(super) above: Vec<Line>,
    pub(super) after_blank: bool,
    /// `None` in a list.
    pub(super) key: Option<&'n str>,
    pub(super) right: Option<String>,
    pub(super) body: Body<'n>,
}

#[derive(Debug)]
pub(super) enum Body<'n> {
    /// Whatever fits on a line: a scalar, or a collection in brackets.
    Inline(&'n Node, Option<&'static Section>),
    Map {
        entries: Vec<Entry<'n>>,
        last: Vec<Line>,
    },
    List {
        entries: Vec<Entry<'n>>,
        last: Vec<Line>,
    },
}

struct Build<'s> {
    source: &'s Source,
    comments: VecDeque<Comment>,
}

pub(super) fn document<'n>(source: &Source, tree: &'n Node) -> Document<'n> {
    let mut build = Build { source, comments: comments::all(source).into() };
    let (mut header, mut parted) = (Vec::new(), false);
    let first = tree.entries().first();
    let is_block = first.is_some() && !build.is_flow(tree);
    if let Some((key, _)) = first
        && is_block
    {
        let line = build.line(key.span.start);
        header = build.before(line);
        parted = is_blank(source, line.saturating_sub(1)) && !header.is_empty();
    }
    let mut body = build.body(tree, Some(&POLICY), usize::MAX);
    let rest: Vec<_> = build.before(usize::MAX);
    match &mut body {
        Body::Map { last, .. } | Body::List { last, .. } => last.extend(rest),
        Body::Inline(..) => header.extend(rest),
    }
    Document { header, parted, body }
}

impl Build<'_> {
    fn line(&self, at: usize) -> usize {
        self.source.place(crate::source::Span::new(at, at)).line
    }

    /// The last line of a value.
    fn last_line(&self, node: &Node) -> usize {
        let text = self.source.slice(node.span).trim_end();
        self.line(node.span.start + text.len().saturating_sub(1))
    }

    fn is_flow(&self, node: &Node) -> bool {
        self.source.slice(node.span).starts_with(['{', '['])
    }

    /// The comments before a line.
    fn before(&mut self, line: usize) -> Vec<Line> {
        self.take(|comment| comment.line < line)
    }

    fn take(&mut self, wanted: impl Fn(&Comment) -> bool) -> Vec<Line> {
        let mut taken = Vec::new();
        while let Some(comment) = self.comments.pop_front_if(|comment| wanted(comment)) {
            let after_blank = comment.own_line && comment.after_blank;
            taken.push(Line { text: comment.text, after_blank, line: comment.line });
        }
        taken
    }

    /// A value; `until` is the line of whatever follows it outside.
    fn body<'n>(
        &mut self,
        node: &'n Node,
        table: Option<&'static Section>,
        until: usize,
    ) -> Body<'n> {
        if self.is_flow(node) {
            return Body::Inline(node, table);
        }
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                let column = self.source.place(entries[0].0.span).column;
                let mut built = Vec::with_capacity(entries.len());
                for (at, (key, value)) in entries.iter().enumerate() {
                    let next = entries.get(at + 1).map(|(key, _)| self.line(key.span.start));
                    let field = table.and_then(|table| table.field(&key.name));
                    let of = field.and_then(|field| below(&field.kind));
                    let line = self.line(key.span.start);
                    let mut entry =
                        self.entry(Some(&key.name), line, value, of, next.unwrap_or(until));
                    // A blank line before the first key parts the section, not the key.
                    entry.after_blank = entry.after_blank && at > 0;
                    built.push(entry);
                }
                let last = self.trailing(column, until);
                if let Some(table) = table {
                    sort(&mut built, table);
                }
                Body::Map { entries: built, last }
            }
            Value::List(items) if !items.is_empty() => {
                let mut built = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    let next = items.get(at + 1).map(|item| self.line(item.span.start));
                    let line = self.line(item.span.start);
                    built.push(self.entry(None, line, item, table, next.unwrap_or(until)));
                }
                // The dash stands at least two columns before the entry.
                let column = self.source.place(items[0].span).column.saturating_sub(2);
                Body::List { entries: built, last: self.trailing(column.max(1), until) }
            }
            _ => Body::Inline(node, table),
        }
    }

    /// Comments after the last entry that are indented as it is.
    fn trailing(&mut self, column: usize, until: usize) -> Vec<Line> {
        self.take(|comment| {
            comment.line < until && comment.own_line && comment.column >= column && column > 1
        })
    }

    fn entry<'n>(
        &mut self,
        key: Option<&'n str>,
        line: usize,
        value: &'n Node,
        table: Option<&'static Section>,
        until: usize,
    ) -> Entry<'n> {
        let mut after_blank = is_blank(self.source, line.saturating_sub(1));
        let mut above = self.before(line);
        let is_block = !self.is_flow(value)
            && matches!(&value.value, Value::Map(_) | Value::List(_))
            && !(value.entries().is_empty() && value.items().is_empty());
        let mut right = None;
        if is_block && key.is_some() {
            let mut beside = self.take(|comment| comment.line == line);
            right = beside.pop().map(|comment| comment.text);
            above.extend(beside);
        }
        let body = self.body(value, table, until);
        if !is_block {
            let end = self.last_line(value);
            let mut inside = self.take(|comment| comment.line <= end);
            right = inside.pop_if(|last| last.line == end).map(|last| last.text);
            for line in inside {
                // The blank line before the key now stands before its first comment.
                let first = above.is_empty() && after_blank;
                after_blank = after_blank && !first;
                above.push(Line { after_blank: first, ..line });
            }
        }
        Entry { above, after_blank, key, right, body }
    }
}

/// The section of a value, or of the entries of a list or of chosen names.
fn below(kind: &Kind) -> Option<&'static Section> {
    match kind {
        Kind::Table(table) | Kind::OneOf(table) => Some(table),
        Kind::Either(kinds) => kinds.iter().find_map(below),
        Kind::List { of, .. } => below(of),
        _ => None,
    }
}

/// Keys in the order of the reference; unknown ones stay behind them in their own.
fn sort(entries: &mut [Entry<'_>], table: &Section) {
    let place = |entry: &Entry<'_>| {
        let key = entry.key.unwrap_or_default();
        table.fields.iter().position(|field| field.key == key).unwrap_or(usize::MAX)
    };
    entries.sort_by_key(place);
}
