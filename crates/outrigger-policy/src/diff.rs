//! What changes for a request between two policies, in sentences.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;

use crate::effective::Effective;
use crate::model::{PathMatch, Policy, RouteMatch, TextMatch};
use crate::plan::{Plan, RoutePlan};
use crate::read::Parsed;

/// What changes between two policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The changes: the service first, then the routes in the new order.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// `service`, `inbound`, or a route's name.
    pub scope: String,
    /// The key, where there is one.
    pub key: String,
    /// What changes, in a sentence.
    pub sentence: String,
}

impl Difference {
    /// What changes from `before` to `after`; empty when requests see no difference, whatever the
    /// texts say.
    #[must_use]
    pub fn between(before: &Parsed, after: &Parsed) -> Self {
        let mut out = Self::default();
        let (old, new) = (before.explain(), after.explain());
        out.values("service", "", &old.service, &new.service);
        let (a, b) = (Plan::compile(&before.policy), Plan::compile(&after.policy));
        out.subsets(&before.policy, &after.policy);
        for (at, route) in b.routes.iter().enumerate() {
            let name = route.name.as_str();
            match a.routes.iter().position(|other| other.name == route.name) {
                None => out.added(route, &a),
                Some(other) => {
                    out.matcher(&a.routes[other], route);
                    if serves(&a.routes[other]) != serves(route) {
                        let (now, was) = (serves(route), serves(&a.routes[other]));
                        let sentence = format!("route `{name}`: requests go {now}; before: {was}");
                        out.push(name, "split", sentence);
                    }
                    let values = |values: &[Effective]| {
                        let told = |key: &str| key.starts_with("match") || key == "split";
                        let kept = values.iter().filter(|line| !told(&line.key));
                        kept.cloned().collect::<Vec<_>>()
                    };
                    let (from, to) = (values(&before.route_at(other)), values(&after.route_at(at)));
                    out.values(name, &format!("route `{name}`: "), &from, &to);
                }
            }
        }
        for route in a.routes.iter().filter(|route| b.route_named(route.name.as_str()).is_none()) {
            let taken = taken_by(route, &b);
            let sentence = format!(
                "the route `{}` is gone: {} now take the route `{taken}`",
                route.name,
                route.matcher.wanted()
            );
            out.push(route.name.as_str(), "", sentence);
        }
        out.order(&a, &b);
        out.values("inbound", "the service itself: ", &old.inbound, &new.inbound);
        out
    }

    /// Whether requests see no difference.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn push(&mut self, scope: &str, key: &str, sentence: String) {
        self.changes.push(Change { scope: scope.to_owned(), key: key.to_owned(), sentence });
    }

    fn values(&mut self, scope: &str, lead: &str, old: &[Effective], new: &[Effective]) {
        let find =
            |lines: &'_ [Effective], key: &str| lines.iter().find(|line| line.key == key).cloned();
        // A section that is switched on stands on one side as a word, on the other key by key.
        let above = |lines: &[Effective], key: &str| {
            let is_above = |line: &&Effective| {
                key.strip_prefix(&*line.key).is_some_and(|rest| rest.starts_with('.'))
            };
            lines.iter().find(is_above).cloned()
        };
        let mut told: Vec<String> = Vec::new();
        for line in new {
            match find(old, &line.key) {
                Some(was) if was.value == line.value => {}
                Some(was) => {
                    let sentence =
                        format!("{lead}`{}` is {}; before: {}", line.key, said(line), said(&was));
                    self.push(scope, &line.key, sentence);
                }
                None => match above(old, &line.key) {
                    Some(was) if told.contains(&was.key) => {}
                    Some(was) => {
                        let sentence = format!(
                            "{lead}`{}` is on ({}); before: {}",
                            was.key,
                            own_words(&was.key, new),
                            said(&was)
                        );
                        told.push(was.key.clone());
                        self.push(scope, &was.key, sentence);
                    }
                    None if old
                        .iter()
                        .any(|was| above(std::slice::from_ref(line), &was.key).is_some()) =>
                    {
                        let was = own_words(&line.key, old);
                        let sentence = format!(
                            "{lead}`{}` is {}; before it was on ({was})",
                            line.key,
                            said(line)
                        );
                        self.push(scope, &line.key, sentence);
                    }
                    None => {
                        let sentence = format!(
                            "{lead}`{}` is {}; before there was none",
                            line.key,
                            said(line)
                        );
                        self.push(scope, &line.key, sentence);
                    }
                },
            }
        }
        for was in old {
            let is_told = find(new, &was.key).is_some()
                || above(new, &was.key).is_some()
                || new.iter().any(|line| above(std::slice::from_ref(was), &line.key).is_some());
            if !is_told {
                let sentence = format!("{lead}`{}` is gone; before: {}", was.key, said(was));
                self.push(scope, &was.key, sentence);
            }
        }
    }

    /// A subset that means other instances is a change of every route that uses it.
    fn subsets(&mut self, before: &Policy, after: &Policy) {
        for (name, labels) in &after.subsets {
            if before.subsets.get(name).is_some_and(|was| was != labels) {
                let sentence = format!("the subset `{name}` means other instances than before");
                self.push("service", &format!("subsets.{name}"), sentence);
            }
        }
        // Told by name above: the key as a whole would say it twice.
        self.changes.retain(|change| change.key != "subsets");
    }

    fn added(&mut self, route: &RoutePlan, before: &Plan) {
        let was = taken_by(route, before);
        let old = before.route_named(&was).map_or_else(String::new, |old| serves(old));
        let sentence = format!(
            "{} take the new route `{}` and go {}; before: route `{was}`, {old}",
            route.matcher.wanted(),
            route.name,
            serves(route),
        );
        self.push(route.name.as_str(), "", sentence);
        let from = before.route_named(&was);
        let Some(from) = from else { return };
        let span = |span: Option<std::time::Duration>| {
            span.map_or_else(|| "none".to_owned(), crate::scalar::write_duration)
        };
        if from.timeout != route.timeout {
            let sentence = format!(
                "route `{}`: `timeout` is {}; before: {}",
                route.name,
                span(route.timeout),
                span(from.timeout)
            );
            self.push(route.name.as_str(), "timeout", sentence);
        }
        if from.retry.attempts != route.retry.attempts {
            let sentence = format!(
                "route `{}`: `retry.attempts` is {}; before: {}",
                route.name, route.retry.attempts, from.retry.attempts
            );
            self.push(route.name.as_str(), "retry.attempts", sentence);
        }
        if let Some(mirror) = &route.mirror {
            let sentence = format!(
                "route `{}`: {} % of the requests are copied to `{}`",
                route.name,
                percent(mirror.ratio.get()),
                mirror.subset.name
            );
            self.push(route.name.as_str(), "mirror", sentence);
        }
    }

    fn matcher(&mut self, old: &RoutePlan, new: &RoutePlan) {
        if old.matcher != new.matcher {
            let sentence = format!(
                "the route `{}` is for {}; before: for {}",
                new.name,
                new.matcher.wanted(),
                old.matcher.wanted()
            );
            self.push(new.name.as_str(), "match", sentence);
        }
    }

    fn order(&mut self, a: &Plan, b: &Plan) {
        fn shared<'p>(of: &'p Plan, with: &Plan) -> Vec<&'p str> {
            let names = of.routes.iter().map(|route| route.name.as_str());
            names.filter(|name| with.route_named(name).is_some()).collect()
        }
        let (old, new) = (shared(a, b), shared(b, a));
        if old != new {
            let sentence = format!(
                "the routes are looked at in the order {}; before: {}",
                new.join(", "),
                old.join(", ")
            );
            self.push("service", "routes", sentence);
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("Nothing changes for any request.\n");
        }
        for change in &self.changes {
            let mut chars = change.sentence.chars();
            let first = chars.next().map(char::to_uppercase);
            let first: String = first.into_iter().flatten().collect();
            writeln!(f, "{first}{}.", chars.as_str())?;
        }
        Ok(())
    }
}

/// A value in a sentence.
fn said(line: &Effective) -> String {
    line.value.trim_start_matches('(').trim_end_matches(')').to_owned()
}

/// What a section that is on says in its own words: the values that stand in the file.
fn own_words(key: &str, lines: &[Effective]) -> String {
    let below = |line: &&Effective| {
        line.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
            && line.origin != crate::effective::Origin::Default
    };
    let words: Vec<_> = lines
        .iter()
        .filter(below)
        .map(|line| format!("{} {}", &line.key[key.len() + 1..], said(line)))
        .collect();
    if words.is_empty() { "with its defaults".to_owned() } else { words.join(", ") }
}

/// Which instances serve a route.
fn serves(route: &RoutePlan) -> String {
    let Some(split) = &route.split else { return "to all endpoints".to_owned() };
    let total: u32 = split.parts.iter().map(|part| part.weight).sum();
    let parts = split.parts.iter().map(|part| {
        let share = f64::from(part.weight) / f64::from(total.max(1));
        format!("{} % to `{}`", percent(share), part.subset.name)
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

/// The route of a plan that a typical request of another route takes.
fn taken_by(route: &RoutePlan, plan: &Plan) -> String {
    let wanted = route.matcher.wanted();
    let method = wanted.methods.first().cloned().unwrap_or(Method::GET);
    let path = match &wanted.path {
        Some(PathMatch::Prefix(path) | PathMatch::Exact(path)) => path.to_string(),
        Some(PathMatch::Regex(_)) | None => "/".to_owned(),
    };
    let query: Vec<_> = wanted
        .query
        .iter()
        .filter_map(|(name, value)| sample(value).map(|v| format!("{name}={v}")))
        .collect();
    let query = query.join("&");
    let (_, found) = plan.route(&method, &path, Some(&query), &headers(wanted));
    found.name.to_string()
}

fn headers(wanted: &RouteMatch) -> HeaderMap {
    let pairs = wanted.headers.iter().filter_map(|(name, value)| {
        Some((name.clone(), HeaderValue::from_str(sample(value)?).ok()?))
    });
    pairs.collect()
}

/// A value that matches, where one can be told.
fn sample(value: &TextMatch) -> Option<&str> {
    match value {
        TextMatch::Exact(text) => Some(text),
        TextMatch::Present(true) => Some("x"),
        TextMatch::Regex(_) | TextMatch::Present(false) => None,
    }
}
