//! What becomes of one request.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use outrigger_core::{NormalPath, PathError, ServiceName};
use serde::Serialize;

use crate::effective::Effective;
use crate::model::{AuthorizeMode, PathMatch, RouteMatch, Verdict};
use crate::plan::{Plan, RequestView};
use crate::read::Parsed;

/// A request to try a policy with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestSample {
    /// The method.
    pub method: Method,
    /// The path and the query as they come over the wire.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Who calls, where that is known.
    pub caller: Option<ServiceName>,
}

/// Why a text is not a sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The line is not of the form `METHOD /path`.
    #[error("{0:?} is not a request; write `GET /v2/x` or `/v2/x`")]
    Line(String),
    /// The header is not of the form `name: value`.
    #[error("{0:?} is not a header; write `name: value`")]
    Header(String),
    /// The path has no normal form; such a request is answered with 400.
    #[error("{0}; such a request is answered with 400 `bad_request`")]
    Path(PathError),
}

impl RequestSample {
    /// A request without headers.
    #[must_use]
    pub fn new(method: Method, target: &str) -> Self {
        Self { method, target: target.to_owned(), headers: HeaderMap::new(), caller: None }
    }

    /// The same with another header, `name: value`.
    ///
    /// # Errors
    /// [`SampleError::Header`].
    pub fn with_header(mut self, line: &str) -> Result<Self, SampleError> {
        let wrong = || SampleError::Header(line.chars().take(64).collect());
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// The same from a caller.
    #[must_use]
    pub fn with_caller(mut self, caller: ServiceName) -> Self {
        self.caller = Some(caller);
        self
    }

    /// The path in its normal form and the query.
    pub(crate) fn split(&self) -> Result<(NormalPath<'_>, Option<&str>), SampleError> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.target, None),
        };
        Ok((NormalPath::new(path).map_err(SampleError::Path)?, query))
    }
}

impl FromStr for RequestSample {
    type Err = SampleError;

    /// Reads `GET /v2/x?y=1`; GET where only a path stands.
    fn from_str(text: &str) -> Result<Self, SampleError> {
        let text = text.trim();
        let wrong = || SampleError::Line(text.chars().take(64).collect());
        let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
        let target = target.trim();
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
        if !target.starts_with('/') || target.contains(' ') {
            return Err(wrong());
        }
        Ok(Self::new(method, target))
    }
}

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestExplanation {
    /// The request, its path in the normal form.
    pub request: String,
    /// The route that it takes.
    pub route: String,
    /// The routes before it, and why each does not match.
    pub skipped: Vec<Skipped>,
    /// The rules it meets, in the order of the stack, outermost first.
    pub steps: Vec<Step>,
}

/// A route that does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Its name.
    pub route: String,
    /// Why.
    pub why: String,
}

/// A rule that a request meets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// The rule, by the word of the stack.
    pub rule: String,
    /// The values that count.
    pub values: Vec<Effective>,
}

/// The outbound stack, outermost first: the rule's word, and the keys that it is made of.
const STACK: [(&str, &[&str]); 15] = [
    ("rate limit", &["rate_limits"]),
    ("header edits", &["headers"]),
    ("fault", &["fault"]),
    ("timeout", &["timeout", "idle_timeout"]),
    ("mirror", &["mirror"]),
    ("split", &["split", "sticky"]),
    ("breaker", &["breaker"]),
    ("hedge", &["hedge"]),
    (
        "retry",
        &["retry.attempts", "retry.when", "retry.methods", "retry.backoff", "retry.body_limit"],
    ),
    ("budget", &["retry.budget"]),
    ("pick", &["balance"]),
    ("ejection", &["eject"]),
    ("capacity", &["capacity"]),
    ("per-try timeout", &["retry.per_try_timeout"]),
    ("pool", &["connect_timeout", "tls"]),
];

impl Parsed {
    /// Which route a request takes, which rules it meets, in which order, and where each value comes
    /// from.
    ///
    /// # Errors
    /// [`SampleError::Path`] for a path that is refused before any rule.
    pub fn explain_request(
        &self,
        sample: &RequestSample,
    ) -> Result<RequestExplanation, SampleError> {
        let (path, query) = sample.split()?;
        let plan = Plan::compile(&self.policy);
        let view = RequestView {
            method: &sample.method,
            path: path.as_str(),
            query,
            headers: &sample.headers,
        };
        let (at, route) = plan.route(view.method, view.path, view.query, view.headers);
        let skipped = plan.routes[..at].iter().map(|route| Skipped {
            route: route.name.to_string(),
            why: why_not(route.matcher.wanted(), &view),
        });
        let mut values = self.explain().service;
        values.extend(self.route_at(at));
        let mut steps: Vec<Step> =
            STACK.iter().filter_map(|(rule, keys)| step(rule, keys, &values)).collect();
        steps.extend(self.inbound_steps(sample, &plan, &view));
        Ok(RequestExplanation {
            request: format!("{} {path}", sample.method),
            route: route.name.to_string(),
            skipped: skipped.collect(),
            steps,
        })
    }

    /// What the service itself does with it, where the policy has that part.
    fn inbound_steps(
        &self,
        sample: &RequestSample,
        plan: &Plan,
        view: &RequestView<'_>,
    ) -> Vec<Step> {
        let Some(inbound) = &plan.inbound else { return Vec::new() };
        let values = self.explain().inbound;
        let mut steps = Vec::new();
        if let Some(authorize) = &inbound.authorize {
            let verdict = authorize.verdict(sample.caller.as_ref(), view.method, view.path);
            let word = match (verdict, authorize.mode) {
                (Verdict::Allow, _) => "allowed",
                (Verdict::Deny, AuthorizeMode::Enforce) => "refused with 403 `forbidden`",
                (Verdict::Deny, _) => "denied, and let through: mode is observe",
            };
            steps.push(Step {
                rule: format!("inbound authorize: {word}"),
                values: under(&["inbound.authorize.mode", "inbound.authorize.default"], &values),
            });
        }
        for (rule, key) in
            [("inbound shed", "inbound.shed"), ("inbound concurrency", "inbound.concurrency")]
        {
            steps.extend(step(rule, &[key], &values));
        }
        for rate in inbound.rate_limits.iter().filter(|rate| rate.matcher.is_match(view)) {
            let rule = format!("inbound rate limit {}: {}", rate.name, rate.limit.rate);
            steps.push(Step { rule, values: Vec::new() });
        }
        steps.extend(step("inbound body", &["inbound.body_limit"], &values));
        steps
    }
}

fn step(rule: &str, keys: &[&str], values: &[Effective]) -> Option<Step> {
    let values = under(keys, values);
    let off = |line: &Effective| {
        matches!(&*line.value, "none" | "[]" | "{}") || line.value.starts_with('(')
    };
    if values.iter().all(off) {
        return None;
    }
    Some(Step { rule: rule.to_owned(), values })
}

fn under(keys: &[&str], values: &[Effective]) -> Vec<Effective> {
    let is_under = |line: &&Effective| {
        keys.iter().any(|key| {
            line.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    values.iter().filter(is_under).cloned().collect()
}

/// Why a matcher does not take a request.
fn why_not(wanted: &RouteMatch, view: &RequestView<'_>) -> String {
    if !wanted.methods.is_empty() && !wanted.methods.contains(view.method) {
        return format!("the method is {}", view.method);
    }
    if let Some(path) = wanted.path.as_ref().filter(|path| !path.is_match(view.path)) {
        return match path {
            PathMatch::Prefix(prefix) => format!("the path is not under {prefix}"),
            PathMatch::Exact(exact) => format!("the path is not {exact}"),
            PathMatch::Regex(pattern) => format!("the path does not match {pattern:?}"),
        };
    }
    let header = wanted.headers.iter().find(|(name, value)| {
        let alone =
            RouteMatch { headers: vec![(name.clone(), value.clone())], ..RouteMatch::default() };
        !crate::plan::Matcher::new(&alone).is_match(view)
    });
    if let Some((name, value)) = header {
        return format!("the header {name} is not {value}");
    }
    match wanted.query.iter().find(|(name, value)| {
        let found = view.query.and_then(|query| crate::plan::parameter(query, name));
        !value.is_match(found.as_deref())
    }) {
        Some((name, value)) => format!("the parameter {name} is not {value}"),
        None => String::new(),
    }
}

impl fmt::Display for RequestExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.request)?;
        for skipped in &self.skipped {
            writeln!(f, "  not route {}: {}", skipped.route, skipped.why)?;
        }
        writeln!(f, "  route {}\n", self.route)?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:3}. {}", at + 1, step.rule)?;
            let width = step.values.iter().map(|line| line.key.chars().count()).max().unwrap_or(0);
            for line in &step.values {
                writeln!(f, "       {:width$}  {}  [{}]", line.key, line.value, line.origin)?;
            }
        }
        Ok(())
    }
}
