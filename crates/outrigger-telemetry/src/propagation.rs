//! The headers that carry a trace: read by rule, written by configuration.
//!
//! W3C comes first; B3, single then multi, where W3C is missing or broken. When both are there and
//! name different traces, the W3C one is continued and the other becomes a link.

pub mod b3;
pub mod baggage;
pub mod traceparent;
pub mod tracestate;

use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_core::TraceContext;
use outrigger_core::header::{B3, BAGGAGE, TRACEPARENT, TRACESTATE};

/// A set of header formats.
///
/// Default: all false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Formats {
    /// `traceparent` and `tracestate`.
    pub w3c: bool,
    /// `baggage`.
    pub baggage: bool,
    /// `b3`.
    pub b3: bool,
    /// `x-b3-traceid` and its siblings.
    pub b3_multi: bool,
}

/// Which headers are read and which are written.
///
/// Default: all are read, `traceparent`, `tracestate` and `baggage` are written. `OTEL_PROPAGATORS`
/// names what is read and written alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Propagators {
    /// Looked at on requests that come in.
    pub read: Formats,
    /// Put on requests that go out.
    pub write: Formats,
}

impl Default for Propagators {
    fn default() -> Self {
        Self {
            read: Formats { w3c: true, baggage: true, b3: true, b3_multi: true },
            write: Formats { w3c: true, baggage: true, b3: false, b3_multi: false },
        }
    }
}

/// What the headers of a request say about its trace.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Extracted {
    /// The caller's span; [`TraceContext::NONE`] when there is none.
    pub parent: TraceContext,
    /// What the caller decided; `None` when it left that to us.
    pub sampled: Option<bool>,
    /// A second trace that the headers name.
    pub link: Option<TraceContext>,
    /// The vendors' part, within its bounds; only ever beside a W3C parent.
    pub tracestate: Option<HeaderValue>,
    /// The application's part, within its bounds.
    pub baggage: Option<HeaderValue>,
}

impl Propagators {
    /// The same formats both ways.
    #[must_use]
    pub const fn both(formats: Formats) -> Self {
        Self { read: formats, write: formats }
    }

    /// Reads the headers of a request.
    ///
    /// Cost: allocates nothing unless `tracestate` or `baggage` must be cut.
    #[must_use]
    pub fn extract(&self, headers: &HeaderMap) -> Extracted {
        let mut found = Extracted::default();
        let present = Present::of(headers);
        if self.read.w3c
            && present.w3c
            && let Some(parent) = only(headers)
        {
            found.parent = parent;
            found.sampled = Some(parent.is_sampled());
            found.tracestate = tracestate::merge(&headers.get_all(TRACESTATE));
        }
        if (self.read.b3 || self.read.b3_multi)
            && present.b3
            && let Some(other) = self.read_b3(headers, found.parent.is_valid())
        {
            if !found.parent.is_valid() {
                found.parent = other.trace.unwrap_or(TraceContext::NONE);
                found.sampled = other.sampled;
            } else if let Some(trace) = other.trace {
                found.link = differs(found.parent, trace).then_some(trace);
            }
        }
        if self.read.baggage && present.baggage {
            found.baggage = baggage::merge(&headers.get_all(BAGGAGE));
        }
        found
    }

    fn read_b3(&self, headers: &HeaderMap, ids_only: bool) -> Option<b3::B3Context> {
        // Beside a W3C parent a lone decision says nothing, so two look-ups tell all.
        if ids_only && !headers.contains_key(B3) && !headers.contains_key(b3::TRACE_ID) {
            return None;
        }
        match (self.read.b3, self.read.b3_multi) {
            (true, true) => b3::read(headers),
            (true, false) => b3::parse_single(headers.get(B3)?.as_bytes()),
            (false, true) => b3::read_multi(headers),
            (false, false) => None,
        }
    }

    /// Writes where a request stands in its trace.
    ///
    /// Shape: `context` is valid, else nothing is written. Headers of formats that are not written
    /// are taken off, since they would name a span that is not the caller.
    /// Cost: one allocation per header, which is the header's own storage.
    pub fn inject(&self, headers: &mut HeaderMap, context: TraceContext) {
        if !context.is_valid() {
            return;
        }
        if self.write.w3c {
            headers.insert(TRACEPARENT, traceparent::header_value(context));
        } else {
            headers.remove(TRACEPARENT);
        }
        if self.write.b3 {
            headers.insert(B3, b3::single_value(context));
        }
        if self.write.b3_multi {
            b3::write_multi(headers, context);
        }
        let is_stale = self.read.b3 && !self.write.b3 || self.read.b3_multi && !self.write.b3_multi;
        // Heads are short: one look at each name is cheaper than to hash two that are hardly ever
        // there. All of them begin with `x-b3-`, or are `b3`.
        if is_stale && headers.keys().any(|name| is_b3(name.as_str())) {
            if self.read.b3 && !self.write.b3 {
                headers.remove(B3);
            }
            if self.read.b3_multi && !self.write.b3_multi {
                b3::remove_multi(headers);
            }
        }
    }

    /// Writes what does not change between tries: `tracestate` and `baggage`.
    ///
    /// Shape: what the application has put on the request itself stays.
    /// Cost: allocates nothing beyond the map's own growth.
    pub fn inject_baggage(
        &self,
        headers: &mut HeaderMap,
        tracestate: Option<&HeaderValue>,
        baggage: Option<&HeaderValue>,
    ) {
        if self.write.w3c
            && let Some(state) = tracestate
        {
            headers.insert(TRACESTATE, state.clone());
        }
        if self.write.baggage
            && let Some(baggage) = baggage
            && !headers.contains_key(BAGGAGE)
        {
            headers.insert(BAGGAGE, baggage.clone());
        }
    }
}

/// Which headers are there; a request that begins a trace has none of them. One look at each name is
/// cheaper than to hash seven that are not there.
#[derive(Default)]
struct Present {
    w3c: bool,
    b3: bool,
    baggage: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys().map(HeaderName::as_str) {
            match name.len() {
                7 if name == "baggage" => present.baggage = true,
                11 if name == "traceparent" => present.w3c = true,
                2 | 10.. if is_b3(name) => present.b3 = true,
                _ => {}
            }
        }
        present
    }
}

fn is_b3(name: &str) -> bool {
    name == "b3" || name.starts_with("x-b3-")
}

/// The one `traceparent`: two of them cannot both be right, so they are none.
fn only(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { traceparent::parse(first.as_bytes()) }
}

/// Whether two contexts name different callers. A 64-bit B3 id is the low half of a 128-bit one.
fn differs(w3c: TraceContext, b3: TraceContext) -> bool {
    let same_trace = w3c.trace_id == b3.trace_id
        || b3.trace_id >> 64 == 0 && w3c.trace_id as u64 == b3.trace_id as u64;
    !same_trace || w3c.span_id != b3.span_id
}

#[cfg(test)]
mod tests;
