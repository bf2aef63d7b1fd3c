//! The spans of the demo's services, put together to whole traces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use outrigger::telemetry::{FinishedSpan, SpanSink, SpanStatus};
use serde_json::{Value, json};

use super::report::TraceReport;

/// Traces that are kept; older ones are forgotten whole.
const MAX_TRACES: usize = 64;
/// Spans of one trace that are kept.
const MAX_SPANS: usize = 256;

/// Takes the spans of every service of the demo.
#[derive(Debug, Default)]
pub(crate) struct Traces(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    order: VecDeque<u128>,
    spans: BTreeMap<u128, Vec<FinishedSpan>>,
    best: Option<Vec<FinishedSpan>>,
}

impl SpanSink for Traces {
    fn finished(&self, span: &FinishedSpan) {
        let mut kept = self.lock();
        let Kept { order, spans, best } = &mut *kept;
        let trace = spans.entry(span.trace_id).or_insert_with(|| {
            order.push_back(span.trace_id);
            Vec::new()
        });
        if trace.len() < MAX_SPANS {
            trace.push(span.clone());
        }
        if is_whole(trace) {
            *best = Some(trace.clone());
        }
        while order.len() > MAX_TRACES {
            if let Some(oldest) = order.pop_front() {
                spans.remove(&oldest);
            }
        }
    }
}

/// Whether every span's parent is there, there is one root, and the request went all the way.
fn is_whole(spans: &[FinishedSpan]) -> bool {
    let ids: BTreeSet<u64> = spans.iter().map(|span| span.span_id).collect();
    let roots = spans.iter().filter(|span| span.parent.is_none()).count();
    let orphans = spans
        .iter()
        .filter(|span| span.parent.is_some_and(|parent| !ids.contains(&parent)))
        .count();
    let services: BTreeSet<&str> = spans.iter().map(|span| &*span.service).collect();
    roots == 1
        && orphans == 0
        && ["storefront", "orders", "inventory", "pricing"].iter().all(|s| services.contains(s))
}

impl Traces {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whatever was pushed is whole; a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest whole trace, for the report.
    pub(crate) fn report(&self) -> Option<TraceReport> {
        let kept = self.lock();
        let spans = kept.best.as_ref()?;
        let services: BTreeSet<&str> = spans.iter().map(|span| &*span.service).collect();
        Some(TraceReport {
            id: format!("{:032x}", spans.first()?.trace_id),
            services: services.into_iter().map(str::to_owned).collect(),
            spans: spans.len(),
        })
    }

    /// The newest whole trace, for the page.
    pub(crate) fn show(&self) -> Value {
        let kept = self.lock();
        let Some(spans) = &kept.best else { return Value::Null };
        let Some(first) = spans.first() else { return Value::Null };
        let spans: Vec<Value> = spans.iter().map(show_span).collect();
        json!({ "id": format!("{:032x}", first.trace_id), "spans": spans })
    }
}

fn show_span(span: &FinishedSpan) -> Value {
    let since_epoch =
        |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let (start, end) = (since_epoch(span.start), since_epoch(span.end));
    let mut attributes: BTreeMap<String, String> = span
        .attributes
        .iter()
        .map(|attribute| (attribute.key.to_owned(), attribute.value.to_string()))
        .collect();
    for (number, event) in span.events.iter().enumerate() {
        let known: Vec<String> =
            event.attributes.iter().map(|a| format!("{}={}", a.key, a.value)).collect();
        attributes.insert(format!("event {number} {}", event.name), known.join(" "));
    }
    // Microseconds since 1970 exceed what a script's number holds exactly only after the year 2255.
    json!({
        "id": format!("{:016x}", span.span_id),
        "parent": span.parent.map(|parent| format!("{parent:016x}")),
        "service": &*span.service,
        "name": &*span.name,
        "kind": span.kind.as_str(),
        "start_us": u64::try_from(start).unwrap_or(0),
        "duration_us": u64::try_from(end.saturating_sub(start)).unwrap_or(0),
        "error": span.status != SpanStatus::Unset,
        "attributes": attributes,
    })
}
