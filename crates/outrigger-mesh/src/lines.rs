//! Where in a policy something is said, for the comments of documents.

use std::time::Duration;

use outrigger_policy::{Effective, Explanation, Origin, Parsed};

/// The places of one policy's keys.
#[derive(Debug)]
pub(crate) struct Lines {
    explanation: Explanation,
}

impl Lines {
    pub(crate) fn of(parsed: &Parsed) -> Self {
        Self { explanation: parsed.explain() }
    }

    /// Of what concerns the service as a whole.
    pub(crate) fn service(&self, key: &str) -> Option<String> {
        told(&self.explanation.service, key)
    }

    /// Of what the service itself reads.
    pub(crate) fn inbound(&self, key: &str) -> Option<String> {
        told(&self.explanation.inbound, key)
    }

    /// Of a route; `default` is the last.
    pub(crate) fn route(&self, route: &str, key: &str) -> Option<String> {
        let found = self.explanation.routes.iter().find(|one| one.name == route)?;
        told(&found.values, key)
    }
}

/// The first key that is this one or stands below it.
fn told(lines: &[Effective], key: &str) -> Option<String> {
    let is_below = |line: &&Effective| {
        line.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    lines.iter().find(is_below).map(|line| match &line.origin {
        Origin::Here(place) | Origin::Above(place) => {
            // Where the file lies is another matter on each machine.
            let name = place.file.rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{name}:{} {key}", place.line)
        }
        _ => format!("{key}, by default"),
    })
}

/// A time as every reader of durations takes it: seconds, with what comes behind the point.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_micros() as f64 / 1e6)
}

/// A share as a percentage, without what arithmetic adds behind the sixth digit.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// A share as a whole percentage; one above 0 stays above it.
pub(crate) fn whole_percent(share: f64) -> u64 {
    let percent = (share * 100.0).round() as u64;
    if percent == 0 && share > 0.0 { 1 } else { percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_written_as_short_as_they_are() {
        assert_eq!(seconds(Duration::from_millis(750)), "0.75s");
        assert_eq!(seconds(Duration::from_secs(300)), "300s");
        assert_eq!(percent(0.07), 7.0);
        assert_eq!(whole_percent(0.001), 1);
    }
}
