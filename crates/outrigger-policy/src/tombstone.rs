//! The text that really removes a policy.

/// What `policy push --remove` writes: whoever reads it goes on as if there had never been a
/// policy, while a key that merely vanishes leaves the last good one in force.
pub const TOMBSTONE: &str = "version: 1\nremoved: true\n";

/// Whether a text is the [`TOMBSTONE`]; comments, blank lines and the order do not matter.
#[must_use]
pub fn is_tombstone(text: &str) -> bool {
    let (mut version, mut removed) = (false, false);
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        match line {
            "" => {}
            "version: 1" if !version => version = true,
            "removed: true" if !removed => removed = true,
            _ => return false,
        }
    }
    version && removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_may_say_who_and_why_and_nothing_else() {
        assert!(is_tombstone(TOMBSTONE));
        assert!(is_tombstone("# by ann\n\nremoved: true # moved\r\nversion: 1"));
        for other in ["", "version: 1", "removed: true", "version: 1\nremoved: true\ntimeout: 1s"] {
            assert!(!is_tombstone(other), "{other:?}");
        }
    }
}
