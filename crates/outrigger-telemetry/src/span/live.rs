//! A span that is being recorded: exists for sampled requests only.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use outrigger_core::{BoxError, Decision, Failed, Receipt, Refusal, Rejected, TraceContext};

use super::{Attribute, FinishedSpan, SpanEvent, SpanKind, SpanLink, SpanStatus, Value};
use crate::Telemetry;
use crate::sampler::new_span_id;

/// Most events that one span keeps.
const MAX_EVENTS: usize = 128;

/// A span on its way; handed on when it is dropped.
#[derive(Debug)]
pub(crate) struct LiveSpan {
    telemetry: Telemetry,
    started: Instant,
    receipt: Option<Arc<Receipt>>,
    log: Option<Arc<SpanLog>>,
    span: FinishedSpan,
    /// Set once there was an answer or an error; else the caller went away.
    concluded: bool,
}

/// What code that runs within a span adds to it.
#[derive(Debug, Default)]
pub(crate) struct SpanLog {
    entries: Mutex<LogEntries>,
}

#[derive(Debug, Default)]
struct LogEntries {
    events: Vec<SpanEvent>,
    dropped: u32,
    route: Option<Cow<'static, str>>,
}

impl SpanLog {
    pub(crate) fn push(&self, event: SpanEvent) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.events.len() < MAX_EVENTS {
            entries.events.push(event);
        } else {
            entries.dropped = entries.dropped.saturating_add(1);
        }
    }

    pub(crate) fn name_route(&self, route: Cow<'static, str>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).route = Some(route);
    }
}

impl LiveSpan {
    /// Starts a span below `parent`, or at the root of its trace when `parent.span_id` is 0.
    pub(crate) fn start(
        telemetry: &Telemetry,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        parent: TraceContext,
        parent_is_remote: bool,
        started: Instant,
    ) -> Box<Self> {
        let start = telemetry.wall_at(started);
        Box::new(Self {
            telemetry: telemetry.clone(),
            started,
            receipt: None,
            log: None,
            span: FinishedSpan {
                trace_id: parent.trace_id,
                span_id: new_span_id(),
                parent: (parent.span_id != 0).then_some(parent.span_id),
                parent_is_remote,
                flags: parent.flags,
                name: name.into(),
                kind,
                start,
                end: start,
                attributes: Vec::with_capacity(16),
                events: Vec::new(),
                dropped_events: 0,
                links: Vec::new(),
                status: SpanStatus::Unset,
                service: telemetry.service_name(),
            },
            concluded: false,
        })
    }

    /// What the spans below this one have as their parent.
    pub(crate) const fn context(&self) -> TraceContext {
        TraceContext {
            trace_id: self.span.trace_id,
            span_id: self.span.span_id,
            flags: self.span.flags,
        }
    }

    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.attributes.push(Attribute::new(key, value));
    }

    pub(crate) fn link(&mut self, to: TraceContext, why: &'static str) {
        self.span.links.push(SpanLink {
            trace_id: to.trace_id,
            span_id: to.span_id,
            attributes: vec![Attribute::new("outrigger.link", why)],
        });
    }

    /// A receipt whose decisions become events and attributes at the end.
    pub(crate) fn attach_receipt(&mut self) -> Arc<Receipt> {
        Arc::clone(self.receipt.insert(Arc::new(Receipt::new())))
    }

    /// A log that code within the span writes to.
    pub(crate) fn attach_log(&mut self) -> Arc<SpanLog> {
        Arc::clone(self.log.insert(Arc::new(SpanLog::default())))
    }

    /// There was an answer.
    pub(crate) fn answered(&mut self, status: StatusCode, version: http::Version) {
        self.concluded = true;
        self.set("http.response.status_code", status.as_u16());
        if let Some(version) = protocol_version(version) {
            self.set("network.protocol.version", version);
        }
        let least = if self.span.kind == SpanKind::Server { 500 } else { 400 };
        if status.as_u16() >= least {
            self.set("error.type", status.as_str().to_owned());
            self.span.status = SpanStatus::Error(Cow::Borrowed(""));
        }
    }

    /// There was none.
    pub(crate) fn failed(&mut self, error: &BoxError) {
        self.concluded = true;
        let error: &(dyn std::error::Error + 'static) = error.as_ref();
        let kind = error_type(error);
        self.set("error.type", kind);
        if self.span.kind == SpanKind::Server
            && let Some(refusal) = Refusal::of(error)
        {
            let status = refusal.reason.http_status();
            self.set("http.response.status_code", status);
            if status < 500 {
                // The caller's doing; by the conventions no error of the server's.
                return;
            }
        }
        // Only our own errors are told: a foreign one may hold what the request held.
        let text = Rejected::find(error)
            .map(ToString::to_string)
            .or_else(|| Failed::find(error).map(ToString::to_string));
        self.span.status = SpanStatus::Error(text.map_or(Cow::Borrowed(""), Cow::Owned));
    }

    /// The body broke after the head was fine.
    pub(crate) fn body_failed(&mut self) {
        self.set("error.type", "body");
        self.span.status = SpanStatus::Error(Cow::Borrowed("the body broke"));
    }

    fn take_receipt(&mut self) {
        let Some(receipt) = self.receipt.take() else { return };
        let (decisions, dropped) = receipt.decisions();
        self.span.dropped_events += dropped;
        let mut summary = Summary::default();
        for (at, decision) in decisions {
            summary.note(&decision);
            let (name, attributes) = describe(decision);
            self.push_event(at, name, attributes);
        }
        summary.write(&mut self.span.attributes);
    }

    fn push_event(&mut self, at: Duration, name: &'static str, attributes: Vec<Attribute>) {
        let at = self.span.start + at;
        self.span.events.push(SpanEvent { name: Cow::Borrowed(name), at, attributes });
    }

    fn take_log(&mut self) {
        let Some(log) = self.log.take() else { return };
        let mut entries = log.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.span.events.append(&mut entries.events);
        self.span.dropped_events += entries.dropped;
        if let Some(route) = entries.route.take() {
            self.span.name = Cow::Owned(format!("{} {route}", self.span.name));
            self.span.attributes.push(Attribute::new("http.route", route));
        }
    }
}

impl Drop for LiveSpan {
    fn drop(&mut self) {
        let elapsed = self.telemetry.now().saturating_duration_since(self.started);
        self.span.end = self.span.start + elapsed;
        self.take_receipt();
        self.take_log();
        if !self.concluded {
            // Nothing failed: whoever waited for it went away.
            self.set("outrigger.outcome", "ignored");
            self.push_event(elapsed, "cancelled", Vec::new());
        }
        self.telemetry.finish(&self.span);
    }
}

pub(crate) const fn protocol_version(version: http::Version) -> Option<&'static str> {
    Some(match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_11 => "1.1",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => return None,
    })
}

/// OpenTelemetry's `error.type`, one of a fixed set of words.
pub(crate) fn error_type(error: &(dyn std::error::Error + 'static)) -> &'static str {
    if let Some(failed) = Failed::find(error) {
        return failed.kind.as_str();
    }
    Refusal::of(error).map_or("_OTHER", |refusal| refusal.reason.as_str())
}

/// The last word of each rule, as attributes that can be searched for.
#[derive(Debug, Default)]
struct Summary {
    candidates: Option<u32>,
    endpoint: Option<String>,
    panicking: bool,
    tries: u8,
    limiter: Option<&'static str>,
    circuit: Option<&'static str>,
    refused: Option<&'static str>,
    not_retried: Option<&'static str>,
}

impl Summary {
    fn note(&mut self, decision: &Decision) {
        match decision {
            Decision::Limited { admitted, .. } => {
                let word = if *admitted { "admitted" } else { "refused" };
                // One refusal outweighs every admission before it.
                if self.limiter != Some("refused") {
                    self.limiter = Some(word);
                }
            }
            Decision::Circuit { state, .. } => self.circuit = Some(state.as_str()),
            Decision::Picked { candidates, endpoint, panicking, .. } => {
                self.candidates = Some(*candidates);
                self.endpoint = Some(endpoint.to_string());
                self.panicking |= panicking;
            }
            Decision::Tried { .. } => self.tries = self.tries.saturating_add(1),
            Decision::NotRetried { why } => self.not_retried = Some(why),
            Decision::Refused { reason } => self.refused = Some(reason.as_str()),
            _ => {}
        }
    }

    fn write(self, attributes: &mut Vec<Attribute>) {
        let mut set = |key, value: Option<Value>| {
            attributes.extend(value.map(|value| Attribute { key, value }));
        };
        set("outrigger.candidates", self.candidates.map(Value::from));
        set("outrigger.endpoint", self.endpoint.map(Value::from));
        set("outrigger.panicking", self.panicking.then(|| true.into()));
        set("outrigger.tries", (self.tries > 0).then(|| self.tries.into()));
        set("outrigger.limiter", self.limiter.map(Value::from));
        set("outrigger.circuit", self.circuit.map(Value::from));
        set("outrigger.not_retried", self.not_retried.map(Value::from));
        set("outrigger.refused", self.refused.map(Value::from));
    }
}

fn describe(decision: Decision) -> (&'static str, Vec<Attribute>) {
    match decision {
        Decision::Limited { limit, admitted, remaining } => {
            let mut known = vec![
                Attribute::new("outrigger.limit", limit),
                Attribute::new("outrigger.admitted", admitted),
            ];
            known.extend(remaining.map(|left| Attribute::new("outrigger.remaining", left)));
            ("limiter asked", known)
        }
        Decision::Rate { rule, admitted, spared, remaining } => (
            "limiter asked",
            vec![
                Attribute::new("outrigger.limit", rule.to_string()),
                Attribute::new("outrigger.admitted", admitted),
                Attribute::new("outrigger.spared", spared),
                Attribute::new("outrigger.remaining", remaining),
            ],
        ),
        Decision::Split { subset } => {
            ("subset drawn", vec![Attribute::new("outrigger.subset", subset.to_string())])
        }
        Decision::Fault { delay, abort } => {
            let mut known = Vec::new();
            let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
            known.extend(delay.map(|delay| Attribute::new("outrigger.delay_ms", ms(delay))));
            known.extend(abort.map(|status| Attribute::new("http.response.status_code", status)));
            ("fault injected", known)
        }
        Decision::Mirrored => ("mirrored", Vec::new()),
        Decision::Fallback { kind } => {
            ("fell back", vec![Attribute::new("outrigger.fallback", kind)])
        }
        Decision::Circuit { state, admitted } => (
            "circuit asked",
            vec![
                Attribute::new("outrigger.circuit", state.as_str()),
                Attribute::new("outrigger.admitted", admitted),
            ],
        ),
        Decision::Picked { candidates, endpoint, load, panicking } => (
            "endpoint picked",
            vec![
                Attribute::new("outrigger.candidates", candidates),
                Attribute::new("outrigger.endpoint", endpoint.to_string()),
                Attribute::new("outrigger.load", load),
                Attribute::new("outrigger.panicking", panicking),
            ],
        ),
        Decision::Tried { attempt, endpoint, status, failure, outcome, elapsed } => {
            let mut known = vec![
                Attribute::new("outrigger.attempt", attempt),
                Attribute::new("outrigger.outcome", outcome.as_str()),
                Attribute::new("outrigger.elapsed_ms", elapsed.as_secs_f64() * 1e3),
            ];
            known.extend(endpoint.map(|e| Attribute::new("outrigger.endpoint", e.to_string())));
            known.extend(status.map(|s| Attribute::new("http.response.status_code", s)));
            known.extend(failure.map(|f| Attribute::new("error.type", f.as_str())));
            ("try ended", known)
        }
        Decision::Retried { attempt, backoff } => (
            "retried",
            vec![
                Attribute::new("outrigger.attempt", attempt),
                Attribute::new("outrigger.backoff_ms", backoff.as_secs_f64() * 1e3),
            ],
        ),
        Decision::NotRetried { why } => ("not retried", vec![Attribute::new("outrigger.why", why)]),
        Decision::Refused { reason } => {
            ("refused", vec![Attribute::new("outrigger.reason", reason.as_str())])
        }
        _ => ("decided", Vec::new()),
    }
}
