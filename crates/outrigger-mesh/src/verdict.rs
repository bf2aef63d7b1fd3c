//! What becomes of each field at each target: data in one place, for `render --strict`, for
//! `policy explain --targets` and for the table in the documentation.

mod rows;

use std::fmt;

use outrigger_policy::{Origin, Parsed, Policy, RouteRules};

use crate::Target;
use rows::ROWS;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// It does the same.
    Exact,
    /// It does nearly the same; the reason says how.
    Approximate,
    /// It is not rendered: only library and sidecar do it.
    LibraryOnly,
    /// Only the target does it; library and sidecar do not yet.
    MeshOnly,
}

impl Verdict {
    /// The word in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximate => "approximate",
            Self::LibraryOnly => "library-only",
            Self::MeshOnly => "mesh-only",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict, and why it is not `exact`, or what was rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The verdict.
    pub verdict: Verdict,
    /// Why; may be empty for an exact one.
    pub why: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.as_str())?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// What becomes of one value of a file at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judged {
    /// The route, where the value is one of a route; `default` for what no route matches.
    pub route: Option<String>,
    /// The key, such as `retry.backoff.max`.
    pub key: String,
    /// The value, as `policy explain` tells it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What becomes of it.
    pub told: Told,
}

impl Judged {
    /// Whether the file says it there, so that it was asked for.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        matches!(self.origin, Origin::Here(_))
    }
}

/// A value on its way to a verdict.
pub(crate) struct Case<'c> {
    pub(crate) policy: &'c Policy,
    pub(crate) rules: &'c RouteRules,
    pub(crate) value: &'c str,
}

/// A verdict that counts where its condition holds; the first of a cell that does.
pub(crate) struct Arm {
    pub(crate) holds: fn(&Case<'_>) -> bool,
    /// The condition in words; empty for what always holds.
    pub(crate) words: &'static str,
    pub(crate) told: Told,
}

/// A key, or the section that it stands in, and what becomes of it.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) istio: &'static [Arm],
    pub(crate) envoy: &'static [Arm],
}

impl Row {
    const fn cell(&self, target: Target) -> &'static [Arm] {
        match target {
            Target::Istio => self.istio,
            Target::Envoy => self.envoy,
        }
    }
}

/// The row of a key: its own, else that of the section around it.
fn row(key: &str) -> Option<&'static Row> {
    let mut key = key;
    loop {
        if let Some(row) = ROWS.iter().find(|row| row.key == key) {
            return Some(row);
        }
        key = key.rsplit_once('.')?.0;
    }
}

/// What becomes of every value that holds under a policy, in the order of `policy explain`.
///
/// What is switched off is exact everywhere.
#[must_use]
pub fn judge(parsed: &Parsed, target: Target) -> Vec<Judged> {
    let explanation = parsed.explain();
    let policy = &parsed.policy;
    let routes = explanation.routes.into_iter().enumerate().map(|(at, route)| {
        let rules = policy.routes.get(at).map_or(&policy.rules, |route| &route.rules);
        (Some(route.name), rules, route.values)
    });
    let service = (None, &policy.rules, explanation.service);
    let inbound = (None, &policy.rules, explanation.inbound);
    let mut all = Vec::new();
    for (route, rules, values) in std::iter::once(service).chain(routes).chain([inbound]) {
        for line in values {
            let Some(row) = row(&line.key) else { continue };
            let case = Case { policy, rules, value: &line.value };
            let is_off = ["none", "[]", "{}", "false"].contains(&case.value);
            let is_absent = line.origin == Origin::Default && line.value.starts_with('(');
            let told = if is_off || is_absent {
                Told { verdict: Verdict::Exact, why: "" }
            } else {
                let arm = row.cell(target).iter().find(|arm| (arm.holds)(&case));
                arm.map_or(Told { verdict: Verdict::Exact, why: "" }, |arm| arm.told)
            };
            let (key, value, origin) = (line.key, line.value, line.origin);
            all.push(Judged { route: route.clone(), key, value, origin, told });
        }
    }
    all
}

/// The table of every field and target, in Markdown.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| field |");
    for target in Target::ALL {
        out.push_str(&format!(" {target} |"));
    }
    out.push_str("\n| --- |");
    out.push_str(&" --- |".repeat(Target::ALL.len()));
    out.push('\n');
    for row in ROWS {
        out.push_str(&format!("| `{}` |", row.key));
        for target in Target::ALL {
            let arms: Vec<String> = row.cell(target).iter().map(cell).collect();
            out.push_str(&format!(" {} |", arms.join("; else ")));
        }
        out.push('\n');
    }
    out
}

fn cell(arm: &Arm) -> String {
    match arm.words {
        "" => arm.told.to_string(),
        words => format!("{words} {}", arm.told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_policy::Format;

    const TOUR: &str = include_str!("../../../examples/policies/tour.yaml");

    #[test]
    fn every_field_of_the_tour_has_a_row() {
        let parsed = Policy::parse("tour.yaml", TOUR, Format::Yaml).expect("holds");
        let explanation = parsed.explain();
        let routes = explanation.routes.iter().flat_map(|route| &route.values);
        let lines = explanation.service.iter().chain(routes).chain(&explanation.inbound);
        let without: Vec<_> = lines
            .map(|line| line.key.as_str())
            .filter(|key| row(key).is_none() && *key != "service")
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn every_cell_ends_with_what_always_holds() {
        for row in ROWS {
            for target in Target::ALL {
                let arms = row.cell(target);
                let last = arms.last().expect("a verdict");
                assert_eq!(last.words, "", "{} {target}", row.key);
                assert!(arms[..arms.len() - 1].iter().all(|arm| !arm.words.is_empty()));
                for arm in arms {
                    let is_exact = arm.told.verdict == Verdict::Exact;
                    assert!(is_exact || !arm.told.why.is_empty(), "{} {target}", row.key);
                }
            }
        }
    }

    #[test]
    fn a_verdict_depends_on_the_value() {
        let of = |text: &str, key: &str, target| {
            let text = format!("version: 1\nservice: a\n{text}");
            let parsed = Policy::parse("a.yaml", &text, Format::Yaml).expect("holds");
            let judged = judge(&parsed, target);
            judged.iter().find(|one| one.key == key).expect("a verdict").told.verdict
        };
        let wide = "retry: { attempts: 2, backoff: { base: 50ms, max: 1s } }\n";
        assert_eq!(of(wide, "retry.backoff.max", Target::Istio), Verdict::Approximate);
        assert_eq!(of("", "retry.backoff.max", Target::Istio), Verdict::Exact);
        assert_eq!(of(wide, "retry.backoff.max", Target::Envoy), Verdict::Exact);
        assert_eq!(of("idle_timeout: none\n", "idle_timeout", Target::Istio), Verdict::Exact);
        assert_eq!(of("idle_timeout: 1m\n", "idle_timeout", Target::Istio), Verdict::LibraryOnly);
    }
}
