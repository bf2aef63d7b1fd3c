//! The trace that a request belongs to.

use std::fmt;

/// Where a request stands in its trace: what `traceparent` says.
///
/// Shape: all zero means "no trace". Copied, never allocated. Source: W3C Trace Context, level 2.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// 16 bytes; zero is invalid.
    pub trace_id: u128,
    /// The span that is the parent of whatever comes next; zero is invalid.
    pub span_id: u64,
    /// Bit 0: sampled. Bit 1: the trace id is random.
    pub flags: u8,
}

impl TraceContext {
    /// No trace.
    pub const NONE: Self = Self { trace_id: 0, span_id: 0, flags: 0 };

    /// Whether both ids are there.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.trace_id != 0 && self.span_id != 0
    }

    /// Whether spans are recorded.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}
