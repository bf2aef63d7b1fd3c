//! What is known of a request on its way.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{FailureKind, Receipt, RouteName, ServiceName, TraceContext, Tried};

/// Largest value of the retry guard's header; more is read as this.
pub const MAX_ATTEMPT: u8 = 99;

/// The version of a policy: the first 12 hex digits of its SHA-256, as a number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PolicyVersion(pub u64);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("default") } else { write!(f, "{:012x}", self.0) }
    }
}

impl fmt::Debug for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of one request on its way: made once, passed down, read by every layer.
///
/// Cost: cloning it copies a few reference counts and allocates nothing; a retry clones it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// When the request came in; the only clock read at its start.
    pub started: Instant,
    /// Who is called, once known.
    pub service: Option<ServiceName>,
    /// Which route of its policy applies.
    pub route: RouteName,
    /// The key of the subset whose endpoints it may go to; chosen once, so that retries stay in it.
    pub subset: Option<Arc<str>>,
    /// Who calls, where that is told by somebody trusted.
    pub caller: Option<ServiceName>,
    /// The instant after which nobody waits for the answer.
    pub deadline: Option<Instant>,
    /// The instant at which the policy's own timeout ends: all tries, to the end of the body.
    pub timeout: Option<Instant>,
    /// Retries made for this request so far, above us and by us: `x-outrigger-attempt`.
    pub attempt: u8,
    /// Where it stands in its trace.
    pub trace: TraceContext,
    /// Which policy it runs under, wholly.
    pub policy: PolicyVersion,
    /// Where decisions are written down, for sampled requests only.
    pub receipt: Option<Arc<Receipt>>,
    /// Where earlier tries went; exists only once there is, or may be, more than one.
    pub tried: Option<Arc<Tried>>,
}

impl Context {
    /// A request that came in at `now`, of which nothing else is known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            service: None,
            route: RouteName::default(),
            subset: None,
            caller: None,
            deadline: None,
            timeout: None,
            attempt: 0,
            trace: TraceContext::NONE,
            policy: PolicyVersion::default(),
            receipt: None,
            tried: None,
        }
    }

    /// Brings the deadline forward; a later one changes nothing, since a hop can only tighten.
    pub fn tighten_deadline(&mut self, deadline: Instant) {
        if self.deadline.is_none_or(|present| deadline < present) {
            self.deadline = Some(deadline);
        }
    }

    /// Time left before the deadline; `None` without one, zero when it has passed.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// The instant after which nobody waits, and what its passing means: the deadline or the
    /// timeout, whichever comes first.
    #[must_use]
    pub fn ends(&self) -> Option<(Instant, FailureKind)> {
        match (self.deadline, self.timeout) {
            (Some(deadline), Some(timeout)) if timeout < deadline => {
                Some((timeout, FailureKind::Timeout))
            }
            (Some(deadline), _) => Some((deadline, FailureKind::Deadline)),
            (None, Some(timeout)) => Some((timeout, FailureKind::Timeout)),
            (None, None) => None,
        }
    }

    /// Whether a retry was already made for this request, above us or by us.
    #[must_use]
    pub const fn is_retried(&self) -> bool {
        self.attempt > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_can_only_tighten_the_deadline() {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
        let t0 = Instant::now();
        let mut context = Context::new(t0);
        context.tighten_deadline(t0 + Duration::from_secs(2));
        context.tighten_deadline(t0 + Duration::from_secs(5));
        assert_eq!(context.time_left(t0), Some(Duration::from_secs(2)));
        context.tighten_deadline(t0 + Duration::from_secs(1));
        assert_eq!(context.time_left(t0 + Duration::from_secs(3)), Some(Duration::ZERO));
    }

    #[test]
    fn whichever_of_deadline_and_timeout_comes_first_ends_it() {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
        let t0 = Instant::now();
        let (soon, late) = (t0 + Duration::from_secs(1), t0 + Duration::from_secs(2));
        let mut context = Context::new(t0);
        assert_eq!(context.ends(), None);
        context.timeout = Some(late);
        assert_eq!(context.ends(), Some((late, FailureKind::Timeout)));
        context.deadline = Some(soon);
        assert_eq!(context.ends(), Some((soon, FailureKind::Deadline)));
        context.timeout = Some(t0);
        assert_eq!(context.ends(), Some((t0, FailureKind::Timeout)));
    }
}
