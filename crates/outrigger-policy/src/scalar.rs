//! How single values are written.

use std::time::Duration;

use crate::tree::{Node, Value};

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSpan {
    /// A bare number.
    NoUnit,
    /// A unit that does not exist.
    Unit,
    /// Anything else.
    Form,
}

/// Reads a time such as `15s`, `1m30s` or `0.5s`, in milliseconds.
pub(crate) fn millis(text: &str) -> Result<u64, NotSpan> {
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > 64 {
        return Err(NotSpan::Form);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (digits, after) = rest.split_at(number);
        let after = after.trim_start();
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at(letters);
        if digits.is_empty() {
            return Err(NotSpan::Form);
        }
        let unit: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(NotSpan::NoUnit),
            _ => return Err(NotSpan::Unit),
        };
        let part = fraction(digits, unit).ok_or(NotSpan::Form)?;
        total = total.checked_add(part).ok_or(NotSpan::Form)?;
        rest = next.trim_start();
    }
    Ok(total)
}

/// `digits` times `unit`, where that is whole.
fn fraction(digits: &str, unit: u64) -> Option<u64> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut sum = whole.checked_mul(unit)?;
    if digits.contains('.') {
        if part.is_empty() || part.len() > 6 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
        let scaled = part.parse::<u64>().ok()?.checked_mul(unit)?;
        if scaled % scale != 0 {
            return None;
        }
        sum = sum.checked_add(scaled / scale)?;
    }
    Some(sum)
}

/// Writes a time as people do: `15s`, `1m 30s`, `250ms`.
pub(crate) fn write_millis(millis: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    if millis == 0 {
        return "0ms".to_owned();
    }
    let mut rest = millis;
    let mut out = String::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    out
}

/// Writes a duration of the model.
pub(crate) fn write_duration(duration: Duration) -> String {
    write_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

const SIZES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads a size such as `64KiB`; `None` for what is not one.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim();
    let factor = if unit.is_empty() {
        1
    } else {
        SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?
    };
    number.checked_mul(factor)
}

/// Writes a size as people do.
pub(crate) fn write_bytes(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match SIZES[..3].iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Reads a whole number without leading zeros.
pub(crate) fn whole(node: &Node) -> Option<u64> {
    let Value::Number(text) = &node.value else { return None };
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

/// Reads a finite number.
pub(crate) fn float(node: &Node) -> Option<f64> {
    let Value::Number(text) = &node.value else { return None };
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Whether a reader of YAML 1.1 takes an unquoted word for true, false or a number.
pub(crate) fn is_trap(text: &str) -> bool {
    const WORDS: [&str; 6] = ["on", "off", "yes", "no", "y", "n"];
    let first_upper = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
    };
    let word = WORDS.iter().any(|word| {
        text == *word
            || text == word.to_ascii_uppercase()
            || Some(text) == first_upper(word).as_deref()
    });
    let sexagesimal = text.contains(':')
        && text.split(':').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let grouped = text.contains('_')
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && text.starts_with(|c: char| c.is_ascii_digit());
    let based = ["0x", "0o", "0b"].iter().any(|base| {
        text.strip_prefix(base)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    word || sexagesimal || grouped || based
}

/// The word nearest to one that is not known, if any is near: a typing error, not another word.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word: Vec<char> = word.chars().take(65).flat_map(char::to_lowercase).collect();
    if word.len() > 64 || word.is_empty() {
        return None;
    }
    let most = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|other| other.len() <= 128)
        .map(|other| (distance(&word, &other.to_lowercase().chars().collect::<Vec<_>>()), other))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_and_written_back() {
        for (text, wanted) in [
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("0.5s", 500),
            ("250ms", 250),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(millis(text), Ok(wanted), "{text}");
            assert_eq!(millis(&write_millis(wanted)), Ok(wanted), "{text}");
        }
        assert_eq!(millis("15"), Err(NotSpan::NoUnit));
        assert_eq!(millis("15 parsecs"), Err(NotSpan::Unit));
        for text in ["", "s", "-1s", "1..5s", "0.0001ms", "99999999999999999999s", "1e3s", "∞"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_typing_error_is_near_and_another_word_is_not() {
        let known = ["timeout", "retry", "balance"];
        assert_eq!(nearest("tiemout", known), Some("timeout"));
        assert_eq!(nearest("Retry", known), Some("retry"));
        assert_eq!(nearest("foo", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }

    #[test]
    fn words_that_other_readers_take_for_booleans_are_traps() {
        for trap in ["on", "Off", "YES", "no", "y", "1:30", "1_000", "0x1F", "0o17"] {
            assert!(is_trap(trap), "{trap}");
        }
        for plain in ["none", "one", "10s", "a:b", "oN", "x_1"] {
            assert!(!is_trap(plain), "{plain}");
        }
    }
}
