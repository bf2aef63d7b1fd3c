//! Reading the corpus.

/// One payload and its verdict.
#[derive(Debug)]
pub(crate) struct Case {
    /// The heading it stands under.
    pub(crate) section: String,
    pub(crate) title: String,
    pub(crate) verdict: String,
    /// Its lines, escapes read.
    pub(crate) lines: Vec<String>,
}

pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("% --- ") {
            section = heading.trim_end_matches(" ---");
        }
        if line.starts_with('%') || line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("# ") {
            let title = title.to_owned();
            let (section, verdict) = (section.to_owned(), String::new());
            cases.push(Case { section, title, verdict, lines: Vec::new() });
            continue;
        }
        let case = cases.last_mut().expect("a title comes first");
        match line.strip_prefix("> ") {
            Some(verdict) => verdict.clone_into(&mut case.verdict),
            None => case.lines.push(line.to_owned()),
        }
    }
    let mut titles: Vec<_> = cases.iter().map(|case| case.title.clone()).collect();
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), cases.len(), "each title stands for one case");
    cases
}

/// Reads `{text*times}`, then `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN`.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    unescape(&repeat(text))
}

pub(crate) fn repeat(text: &str) -> String {
    let mut read = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest.find('}').expect("a brace is closed");
        let (what, times) = rest[open + 1..close].rsplit_once('*').expect("text*times");
        read.push_str(&rest[..open]);
        read.push_str(&what.repeat(times.parse().expect("a number")));
        rest = &rest[close + 1..];
    }
    read + rest
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut read = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        if letter != b'\\' {
            read.push(letter);
            continue;
        }
        read.push(match letters.next().expect("a letter follows") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let mut digit = || {
                    let letter = letters.next().expect("two digits");
                    (letter as char).to_digit(16).expect("a digit") as u8
                };
                digit() * 16 + digit()
            }
            other => panic!("no escape: {}", other as char),
        });
    }
    read
}
