//! Durations as Go writes them: `1m30s`, `250ms`, `1.5h`.

use std::time::Duration;

/// Parses a Go duration. Signs are allowed on zero only: nothing here may be negative.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" || text == "-0" || text == "+0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[end..];
        nanos += number * unit;
    }
    // Go's own range ends at 2^63 ns, about 292 years.
    (nanos < i64::MAX as f64).then(|| Duration::from_nanos(nanos.round() as u64))
}

/// Writes a duration as Go's `String` does: `10s`, `1m30s`, `1h0m0s`, `250ms`, `0s`.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, size) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanos, size));
    }
    let minutes = duration.as_secs() / 60;
    let seconds = decimal(nanos - u128::from(minutes) * 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(value: u128, size: u128) -> String {
    let (whole, part) = (value / size, value % size);
    if part == 0 {
        return whole.to_string();
    }
    let width = size.ilog10() as usize;
    let digits = format!("{part:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_is_read_back() {
        for text in ["10s", "1m30s", "1h0m0s", "250ms", "1.5s", "72h0m0s", "1µs", "0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "10", "abc", "-5s", "5 s", "s", "1x", "999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
