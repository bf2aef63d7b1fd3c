//! Findings as a compiler shows them.

use std::fmt;

use super::{Finding, Report, Severity};
use crate::source::{Place, Source};

/// Longest part of a line that is shown; a machine's JSON may have one line of 500 KiB.
const WIDTH: usize = 120;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            finding.render(&self.source, f)?;
        }
        let errors = self.errors().count();
        let warnings = self.findings.len() - errors;
        if errors + warnings > 1 {
            let many = |count: usize, word| match count {
                1 => format!("1 {word}"),
                count => format!("{count} {word}s"),
            };
            let text = match (errors, warnings) {
                (0, warnings) => many(warnings, "warning"),
                (errors, 0) => many(errors, "error"),
                (errors, warnings) => {
                    format!("{}, {}", many(errors, "error"), many(warnings, "warning"))
                }
            };
            writeln!(f, "\n{}: {text}", self.source.name)?;
        }
        Ok(())
    }
}

impl Finding {
    fn render(&self, source: &Source, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity.as_str(), self.rule, self.message)?;
        let also = self.also.as_ref();
        let widest = self.place.line.max(also.map_or(0, |(place, _)| place.line));
        let gutter = widest.to_string().len();
        let of = match (&*self.subject, self.place.line) {
            ("", _) => String::new(),
            (subject, _) => format!(" ({subject})"),
        };
        writeln!(f, "{:gutter$}--> {}{of}", "", self.place)?;
        // The other place stands first when it comes first.
        let mut shown: Vec<(&Place, &str, char)> = vec![(&self.place, "", '^')];
        if let Some((place, why)) = also {
            shown.push((place, why, '-'));
            shown.sort_by_key(|(place, ..)| place.line);
        }
        if self.place.line > 0 {
            writeln!(f, "{:gutter$} |", "")?;
            let mut before = 0;
            for (place, label, mark) in shown {
                if before > 0 && place.line > before + 1 {
                    writeln!(f, "{:gutter$}...", "")?;
                }
                snippet(source, place, label, mark, gutter, place.line != before, f)?;
                before = place.line;
            }
        }
        if !self.fix.is_empty() {
            writeln!(f, "{:gutter$} = help: {}", "", self.fix)?;
        }
        if self.severity == Severity::Error && self.rule.severity() == Severity::Warning {
            writeln!(f, "{:gutter$} = note: a warning that is denied", "")?;
        }
        Ok(())
    }
}

/// The line of a place with marks under what is meant, between the edges that findings have.
pub(crate) fn excerpt(source: &Source, place: &Place) -> String {
    struct Excerpt<'s>(&'s Source, &'s Place);
    impl fmt::Display for Excerpt<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self(source, place) = self;
            let gutter = place.line.to_string().len();
            writeln!(f, "{:gutter$} |", "")?;
            snippet(source, place, "", '^', gutter, true, f)
        }
    }
    if place.line == 0 { String::new() } else { Excerpt(source, place).to_string() }
}

/// A line of the file with marks under what is meant.
fn snippet(
    source: &Source,
    place: &Place,
    label: &str,
    mark: char,
    gutter: usize,
    with_line: bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let Some(line) = source.line(place.line) else { return Ok(()) };
    let column = place.column - 1;
    // A long line is shown around the place.
    let skip = if column > WIDTH - 20 { column - 20 } else { 0 };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let part: String = line.chars().skip(skip).take(WIDTH).map(clean).collect();
    if with_line {
        writeln!(f, "{:>gutter$} | {}", place.line, part.trim_end())?;
    }
    let meant = source.text.get(place.span.clone()).unwrap_or_default();
    let meant = meant.lines().next().unwrap_or_default().trim_end().chars().count();
    let marks = meant.clamp(1, (WIDTH + skip).saturating_sub(column).max(1));
    let marks = mark.to_string().repeat(marks);
    let label = if label.is_empty() { String::new() } else { format!(" {label}") };
    writeln!(f, "{:gutter$} | {:indent$}{marks}{label}", "", "", indent = column - skip)
}
