//! Colours, for terminals only.

use std::io::IsTerminal;

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Paint {
    /// What suits a stream: colours on a terminal, unless `NO_COLOR` is set or it is a dumb one.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: stream.is_terminal() && !refused && !is_dumb }
    }

    /// What is new or good.
    pub(crate) fn good(self, text: &str) -> String {
        self.with(GREEN, text)
    }

    /// What is wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with(RED, text)
    }

    /// What matters.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(BOLD, text)
    }

    /// What stands beside it.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with(DIM, text)
    }

    /// A text whose lines at the margin are headings.
    pub(crate) fn headings(self, text: &str) -> String {
        let heading = |line: &str| !line.trim_end().is_empty() && !line.starts_with(' ');
        let lines = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
            Some(bare) if heading(bare) => self.strong(bare) + "\n",
            _ => line.to_owned(),
        });
        lines.collect()
    }

    /// A report of findings, line by line as a compiler colours it.
    pub(crate) fn report(self, text: &str) -> String {
        if !self.on {
            return text.to_owned();
        }
        let mut colour = RED;
        let lines = text.lines().map(|line| {
            if let Some(message) = line.strip_prefix("error") {
                colour = RED;
                return self.headline(RED, "error", message);
            }
            if let Some(message) = line.strip_prefix("warning") {
                colour = YELLOW;
                return self.headline(YELLOW, "warning", message);
            }
            let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
            let rest = rest.trim_start();
            let gutter = &line[..line.len() - rest.len()];
            match rest.split_at_checked(1) {
                Some(("|", code)) => {
                    let bar = self.with(BLUE, &format!("{gutter}|"));
                    let marks = code.trim_start();
                    let is_mark = gutter.trim().is_empty() && marks.starts_with(['^', '-']);
                    let hue = if marks.starts_with('-') { BLUE } else { colour };
                    if is_mark { bar + &self.with(hue, code) } else { bar + code }
                }
                Some(("-", _)) if rest.starts_with("--> ") => {
                    line.replacen("-->", &self.with(BLUE, "-->"), 1)
                }
                Some(("=", help)) => format!("{gutter}{}{help}", self.with(BLUE, "=")),
                _ => line.to_owned(),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn headline(self, colour: &str, word: &str, message: &str) -> String {
        let (rule, message) = message.split_once(": ").unwrap_or((message, ""));
        format!("{}: {}", self.with(colour, &format!("{word}{rule}")), self.strong(message))
    }

    fn with(self, colour: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
error[policy::unknown_key]: there is no key `tiemout` here
 --> a.yaml:12:1 (tiemout)
   |
12 | tiemout: 5s
   | ^^^^^^^
   = help: did you mean `timeout`?
";

    fn bare(text: &str) -> String {
        let mut out = String::new();
        let mut parts = text.split('\x1b');
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            out.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
        }
        out
    }

    #[test]
    fn without_colours_a_report_is_untouched() {
        assert_eq!(Paint { on: false }.report(REPORT), REPORT);
    }

    #[test]
    fn colours_change_no_character_of_a_report() {
        let painted = Paint { on: true }.report(REPORT);
        assert_ne!(painted, REPORT.trim_end());
        assert_eq!(bare(&painted), REPORT.trim_end());
    }
}
