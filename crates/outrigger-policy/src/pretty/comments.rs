//! The comments of a YAML text, in its order.

use granit_parser::{Event, Parser};

use crate::source::{Source, Span};

/// A comment and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// From `#` to the end, without trailing space.
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// Whether the line before it is blank.
    pub(super) after_blank: bool,
    /// Whether nothing stands before it on its line.
    pub(super) own_line: bool,
}

pub(super) fn all(source: &Source) -> Vec<Comment> {
    let text = source.text.trim_start_matches('\u{feff}');
    let skipped = source.text.len() - text.len();
    let options = granit_parser::options! { max_buffered_comment_events: usize::MAX };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut found = Vec::new();
    while let Some(Ok((event, span))) = parser.next_event() {
        let Event::Comment(..) = event else { continue };
        let range = span.byte_range().unwrap_or_default();
        let span = Span::new(range.start + skipped, range.end + skipped);
        let place = source.place(span);
        let line = source.line(place.line).unwrap_or_default();
        let before: String = line.chars().take(place.column - 1).collect();
        found.push(Comment {
            text: source.slice(span).trim_end().to_owned(),
            line: place.line,
            column: place.column,
            after_blank: is_blank(source, place.line.saturating_sub(1)),
            own_line: before.trim().is_empty(),
        });
    }
    found.sort_by_key(|comment| (comment.line, comment.column));
    found
}

pub(super) fn is_blank(source: &Source, line: usize) -> bool {
    source.line(line).is_some_and(|line| line.trim().is_empty())
}
