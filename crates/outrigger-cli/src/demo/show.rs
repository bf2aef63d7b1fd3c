//! The running demo as the page sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger::{EndpointView, Fleet, ServiceView};
use serde_json::{Map, Value, json};

use super::board::Board;
use super::cast::Cast;
use super::joiner::STAND_IN;
use super::report::ChapterReport;
use super::script::SCRIPT;
use super::traces::Traces;
use crate::clock;

/// The running demo: which chapter, who plays, what came of the chapters before.
#[derive(Debug)]
pub(crate) struct Shown {
    board: Arc<Board>,
    traces: Arc<Traces>,
    total: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began: Option<Instant>,
    chapter: Option<usize>,
    reports: BTreeMap<usize, ChapterReport>,
    callers: Vec<(String, Fleet)>,
    languages: BTreeSet<String>,
}

impl Shown {
    pub(crate) fn new(board: Arc<Board>, traces: Arc<Traces>, total: Duration) -> Arc<Self> {
        Arc::new(Self { board, traces, total, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The script starts.
    pub(crate) fn begin(&self) {
        self.lock().began = Some(clock::now());
    }

    /// Since the script's start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.lock().began.map_or(Duration::ZERO, |began| clock::now() - began)
    }

    /// A chapter starts.
    pub(crate) fn enter(&self, number: usize) {
        self.lock().chapter = Some(number);
    }

    /// A chapter has ended.
    pub(crate) fn leave(&self, number: usize, report: ChapterReport) {
        self.lock().reports.insert(number, report);
    }

    /// Who plays now.
    pub(crate) fn cast(&self, cast: &Cast) {
        let callers =
            cast.all().map(|i| (i.role.as_str().to_owned(), i.fleet.clone())).collect::<Vec<_>>();
        self.lock().callers = callers;
    }

    /// The reports of the chapters that have ended, in order.
    pub(crate) fn reports(&self) -> Vec<ChapterReport> {
        self.lock().reports.values().cloned().collect()
    }

    /// The languages of all instances seen so far.
    pub(crate) fn languages(&self) -> Vec<String> {
        let fleets: Vec<Fleet> = self.lock().callers.iter().map(|(_, f)| f.clone()).collect();
        let mut seen = self.lock().languages.clone();
        for view in fleets.iter().flat_map(Fleet::services) {
            // A stand-in says that it is in another language, and is not.
            let honest = |e: &&EndpointView| e.version.as_deref() != Some(STAND_IN);
            for endpoint in view.endpoints.iter().filter(honest) {
                seen.extend(endpoint.language.as_ref().map(ToString::to_string));
            }
        }
        self.lock().languages = seen.clone();
        seen.into_iter().collect()
    }

    /// What everything is booked on.
    pub(crate) const fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Who plays now, each with the name of its service.
    pub(crate) fn members(&self) -> Vec<(String, Fleet)> {
        self.lock().callers.clone()
    }

    /// The figures of the play so far, as page and terminal show them.
    pub(crate) fn show(&self) -> Value {
        let mut shown = serde_json::to_value(self.board.figures()).unwrap_or_default();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        shown["elapsed_ms"] = json!(millis(self.elapsed()));
        shown["total_ms"] = json!(millis(self.total));
        shown["chapters"] = Value::Array(self.chapters());
        shown["callers"] = Value::Array(self.callers());
        shown["trace"] = self.traces.show();
        shown
    }

    fn chapters(&self) -> Vec<Value> {
        let state = self.lock();
        let running = state.chapter;
        let chapter = |number: usize| {
            let script = &SCRIPT[number];
            let report = state.reports.get(&number);
            let word = match report {
                Some(report) if report.kept => "kept",
                Some(_) => "broken",
                None if running == Some(number) => "running",
                None => "waiting",
            };
            json!({
                "name": script.name,
                "title": script.title,
                "promise": script.promise,
                "state": word,
                "requests": report.map_or(0, |r| r.requests),
                "failed": report.map_or(0, |r| r.failed),
                "broken_because": report.map_or_else(String::new, |r| r.broken_because.join("; ")),
            })
        };
        (0..SCRIPT.len()).map(chapter).collect()
    }

    fn callers(&self) -> Vec<Value> {
        let mut shown = Vec::new();
        for (caller, fleet) in self.members() {
            let views = fleet.services();
            if views.is_empty() {
                continue;
            }
            let services: Map<String, Value> = views
                .iter()
                .map(|view| (view.service.to_string(), self.service(&caller, view)))
                .collect();
            shown.push(json!({ "caller": caller, "services": services }));
        }
        shown
    }

    fn service(&self, caller: &str, view: &ServiceView) -> Value {
        let service = view.service.as_str();
        let rates: Vec<_> = view
            .endpoints
            .iter()
            .map(|endpoint| self.board.endpoint(caller, service, endpoint.address))
            .collect();
        let all: f64 = rates.iter().map(|figures| figures.rate).sum();
        let endpoints: Vec<Value> = view
            .endpoints
            .iter()
            .zip(&rates)
            .map(|(endpoint, figures)| {
                let mut shown = serde_json::to_value(endpoint).unwrap_or_default();
                shown["rate"] = json!(figures.rate);
                shown["share"] = json!(if all > 0.0 { figures.rate / all } else { 0.0 });
                shown["p50_ms"] = json!(figures.p50_ms);
                shown["p99_ms"] = json!(figures.p99_ms);
                shown["failures"] = json!(figures.failures);
                shown
            })
            .collect();
        let mut shown = serde_json::to_value(view).unwrap_or_default();
        shown["endpoints"] = Value::Array(endpoints);
        shown
    }
}
