//! Test files: what an owner expects of a policy, kept beside it and run in CI.
//!
//! ```yaml
//! version: 1
//! tests:
//!   - name: canaries go to rust
//!     request: GET /v2/stock?beta=1
//!     headers: { x-canary: "1" }
//!     caller: orders
//!     expect:
//!       route: rewrite
//!       split: { java: 90, rust: 10 }
//!       mirror: rust
//!       limits: [per-caller]
//!       refused: none
//!       rules: { timeout: 5s, retry.attempts: 2, hedge: none }
//! ```

mod fields;

pub(crate) use fields::tables;

use std::fmt;

use http::Method;
use outrigger_breaker::Mode;
use serde::Serialize;

use crate::check::{self, Findings};
use crate::effective::{Effective, written};
use crate::explain::{RequestSample, SampleError};
use crate::fields::{Kind, POLICY, Section, or};
use crate::finding::Report;
use crate::model::{AuthorizeMode, Verdict};
use crate::plan::{Plan, RequestView, RoutePlan};
use crate::read::Parsed;
use crate::scalar::nearest;
use crate::source::{Format, Place, Source};
use crate::tree::{self, Node};
use crate::view::View;

/// What came of a test file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TestReport {
    /// Each test, in the order of the file.
    pub tests: Vec<TestOutcome>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// Where it stands.
    #[serde(serialize_with = "as_text")]
    pub place: Place,
    /// What is not as it should be; empty when the test holds.
    pub failures: Vec<String>,
}

fn as_text<S: serde::Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(place)
}

impl TestReport {
    /// The policy that a test file names by `policy`, a file beside it; `None` when it names none.
    ///
    /// Cost: bounded as reading a policy is. A file that cannot be read names none; running it
    /// tells what is wrong with it.
    #[must_use]
    pub fn policy_in(name: &str, text: &str, format: Format) -> Option<String> {
        let (tree, _) = tree::read(&Source::new(name, text), format);
        View::of(&tree?).text("policy").map(str::to_owned)
    }

    /// Whether every test holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.tests.iter().all(|test| test.failures.is_empty())
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for test in &self.tests {
            let word = if test.failures.is_empty() { "ok    " } else { "FAILED" };
            writeln!(f, "{word} {} ({})", test.name, test.place)?;
            for failure in &test.failures {
                writeln!(f, "         {failure}")?;
            }
        }
        let failed = self.tests.iter().filter(|test| !test.failures.is_empty()).count();
        writeln!(f, "{} tests, {failed} failed", self.tests.len())
    }
}

impl Parsed {
    /// Runs a test file against the policy.
    ///
    /// # Errors
    /// A [`Report`] of what is wrong with the test file itself.
    pub fn run_tests(&self, name: &str, text: &str, format: Format) -> Result<TestReport, Report> {
        let source = Source::new(name, text);
        let (tree, findings) = tree::read(&source, format);
        let mut out = Findings::new(&source, findings);
        let Some(tree) = tree else { return Err(Report::new(&source, out.all)) };
        check::section(&tree, &fields::FILE, "", &mut out);
        let report = Report::new(&source, out.all);
        if report.is_refused() {
            return Err(report);
        }
        let plan = Plan::compile(&self.policy);
        let items = View::of(&tree).get("tests").map(Node::items).unwrap_or_default();
        let tests = items.iter().map(|item| TestOutcome {
            name: item.get("name").and_then(Node::scalar).unwrap_or_default().to_owned(),
            place: source.place(item.get("name").unwrap_or(item).span),
            failures: self.run(item, &plan),
        });
        Ok(TestReport { tests: tests.collect() })
    }

    fn run(&self, item: &Node, plan: &Plan) -> Vec<String> {
        let view = View::of(item);
        let expect = view.section("expect");
        let refused = expect.text("refused");
        if item.get("expect").is_some_and(|expect| expect.entries().is_empty()) {
            let keys = fields::EXPECT.fields.iter().map(|field| format!("`{}`", field.key));
            return vec![format!("it expects nothing, and so can never fail; add {}", or(keys))];
        }
        let sample = match sample(&view) {
            Ok(sample) => sample,
            Err(error) => return vec![error.to_string()],
        };
        let (path, query) = match sample.split() {
            Ok(split) => split,
            Err(error) => {
                return match refused {
                    Some("bad_request") => Vec::new(),
                    _ => vec![error.to_string()],
                };
            }
        };
        let request = RequestView {
            method: &sample.method,
            path: path.as_str(),
            query,
            headers: &sample.headers,
        };
        let (at, route) = plan.route(request.method, request.path, request.query, request.headers);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, wanted: String, found: String| {
            if wanted != found {
                wrong.push(format!("{what}: expected {wanted}, found {found}"));
            }
        };
        if let Some(wanted) = expect.text("route") {
            compare("route", wanted.to_owned(), route.name.to_string());
        }
        if let Some(wanted) = expect.get("split") {
            compare("split", shares(wanted), split(route));
        }
        if let Some(wanted) = expect.text("mirror") {
            let found = route.mirror.as_ref().map_or("none", |mirror| &*mirror.subset.name);
            compare("mirror", wanted.to_owned(), found.to_owned());
        }
        if let Some(wanted) = expect.items("limits") {
            let wanted: Vec<_> = wanted.iter().filter_map(Node::scalar).collect();
            let rates = plan.inbound.iter().flat_map(|inbound| &inbound.rate_limits);
            let found: Vec<_> = rates
                .filter(|rate| rate.matcher.is_match(&request))
                .map(|rate| &*rate.name)
                .collect();
            compare(
                "limits",
                format!("[{}]", wanted.join(", ")),
                format!("[{}]", found.join(", ")),
            );
        }
        if let Some(wanted) = refused {
            compare(
                "refused",
                wanted.to_owned(),
                refusal(&sample, plan, &request, route).to_owned(),
            );
        }
        if expect.get("rules").is_some() {
            let mut lines = self.explain().service;
            lines.extend(self.route_at(at));
            wrong.extend(expect.pairs("rules").filter_map(|(key, node)| rule(key, node, &lines)));
        }
        wrong
    }
}

fn sample(view: &View<'_>) -> Result<RequestSample, SampleError> {
    let mut sample: RequestSample = view.text("request").unwrap_or_default().parse()?;
    for (name, node) in view.pairs("headers") {
        sample = sample.with_header(&format!("{name}: {}", node.scalar().unwrap_or_default()))?;
    }
    if let Some(Ok(caller)) = view.text("caller").map(str::parse) {
        sample = sample.with_caller(caller);
    }
    Ok(sample)
}

fn shares(node: &Node) -> String {
    let mut shares: Vec<_> = node
        .entries()
        .iter()
        .map(|(key, node)| format!("{} {}", key.name, node.scalar().unwrap_or_default()))
        .collect();
    shares.sort();
    if shares.is_empty() { "all endpoints".to_owned() } else { shares.join(", ") }
}

fn split(route: &RoutePlan) -> String {
    let Some(split) = &route.split else { return "all endpoints".to_owned() };
    let parts = split.parts.iter().map(|part| format!("{} {}", part.subset.name, part.weight));
    let mut parts: Vec<_> = parts.collect();
    parts.sort();
    parts.join(", ")
}

/// What is refused whatever the load: by identity, or by a circuit that is forced open.
fn refusal(
    sample: &RequestSample,
    plan: &Plan,
    request: &RequestView<'_>,
    route: &RoutePlan,
) -> &'static str {
    let authorize = plan.inbound.as_ref().and_then(|inbound| inbound.authorize.as_ref());
    if authorize.is_some_and(|rules| {
        rules.mode == AuthorizeMode::Enforce
            && rules.verdict(sample.caller.as_ref(), request.method, request.path) == Verdict::Deny
    }) {
        return "forbidden";
    }
    if request.method == Method::CONNECT {
        return "bad_request";
    }
    let forced = |breaker: &crate::model::Breaker| {
        breaker.config.mode == Mode::ForcedOpen && breaker.fallback.is_none()
    };
    if route.breaker.as_ref().is_some_and(forced) { "circuit_open" } else { "none" }
}

/// What is wrong with an expected value of a key.
fn rule(key: &str, node: &Node, lines: &[Effective]) -> Option<String> {
    let Some(line) = lines.iter().find(|line| line.key == key) else {
        let near = nearest(key, lines.iter().map(|line| &*line.key));
        return Some(match near {
            Some(near) => format!("there is no key `{key}` here; did you mean `{near}`?"),
            None => format!("there is no key `{key}` here; `explain` shows those that there are"),
        });
    };
    let wanted = match kind_of(key, &POLICY).or_else(|| kind_of(key, &crate::fields::ROUTE)) {
        Some(kind) => written(node, kind),
        None => node.scalar().unwrap_or_default().to_owned(),
    };
    (line.value != wanted)
        .then(|| format!("{key}: expected {wanted}, found {} ({})", line.value, line.origin))
}

fn kind_of(key: &str, table: &Section) -> Option<&'static Kind> {
    match key.split_once('.') {
        None => table.field(key).map(|field| &field.kind),
        Some((first, rest)) => kind_of(rest, table.field(first)?.kind.table()?),
    }
}
