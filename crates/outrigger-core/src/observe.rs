//! Who wants to know what happens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Context, Endpoint, FailureKind, Freshness, Outcome, PolicyVersion, Ratio, Reason, Rejected,
    RouteName, ServiceName,
};

/// The state of a circuit, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CircuitState {
    /// Traffic flows.
    Closed,
    /// All is rejected.
    Open,
    /// Only probes pass.
    HalfOpen,
}

impl CircuitState {
    /// The word used in answers, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What made an endpoint be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EjectionCause {
    /// So many errors in a row.
    ConsecutiveErrors,
    /// Too small a share of successes in an interval.
    SuccessRatio,
}

impl EjectionCause {
    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveErrors => "consecutive_errors",
            Self::SuccessRatio => "success_ratio",
        }
    }
}

/// Something that happened: what metrics count, logs tell and pages show.
///
/// Borrowed, so that telling it allocates nothing. The first three come per request or per try;
/// all others are changes of state.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request ended at its response's head, or failed for good.
    Finished {
        /// Who was called.
        service: &'a ServiceName,
        /// On which route.
        route: &'a RouteName,
        /// The method, one of the nine known ones or `_OTHER`.
        method: &'static str,
        /// The status, when there was an answer, ours or theirs.
        status: Option<u16>,
        /// The verdict on the whole.
        outcome: Outcome,
        /// From the request's start.
        elapsed: Duration,
        /// Tries that an endpoint was chosen for; 0 when we refused.
        tries: u8,
    },
    /// One try ended at its response's head, or broke.
    Tried {
        /// Who was called.
        service: &'a ServiceName,
        /// Which endpoint.
        endpoint: &'a Endpoint,
        /// 0 for the first.
        attempt: u8,
        /// The status, when there was an answer.
        status: Option<u16>,
        /// How it broke, when it did.
        failure: Option<FailureKind>,
        /// The verdict.
        outcome: Outcome,
        /// From the try's start.
        elapsed: Duration,
    },
    /// We refused a request before any endpoint saw it.
    Rejected {
        /// Why.
        rejected: &'a Rejected,
        /// On which route.
        route: &'a RouteName,
    },
    /// A request that we served has ended, with its answer's body; told of those only that the
    /// access log wants.
    Served {
        /// Who was called by whom, on which route, in which trace, under which policy.
        context: &'a Context,
        /// The method, one of the nine known ones or `_OTHER`.
        method: &'static str,
        /// The path as it came, without the query.
        path: &'a str,
        /// The status, when there was an answer.
        status: Option<u16>,
        /// The gRPC code, when the answer bore one.
        grpc_status: Option<u8>,
        /// Why it is no answer of the application, or no whole one; one of a fixed set of words: a
        /// [`Reason`], `cancelled` (the caller went away) or `broken` (the body broke off).
        reason: Option<&'static str>,
        /// Who served, where that is known.
        endpoint: Option<&'a str>,
        /// The most tries that were made for it, below included; 1 where nobody says more.
        attempts: u8,
        /// Of the answer's body.
        bytes: u64,
        /// From its arrival to the end of the body.
        elapsed: Duration,
    },
    /// Another try was started.
    Retried {
        /// Who is called.
        service: &'a ServiceName,
        /// 1 for the first retry.
        attempt: u8,
        /// Whether it is a hedge: the try before it is still running.
        hedge: bool,
    },
    /// Another try would have been right, and was forbidden.
    RetryForbidden {
        /// Who is called.
        service: &'a ServiceName,
        /// By what: `budget`, `guard`, `below`, `deadline`, `body`.
        why: &'static str,
    },
    /// A rule that only observes would have refused a request, which went on.
    Spared {
        /// Whose rule.
        service: &'a ServiceName,
        /// On which route.
        route: &'a RouteName,
        /// What the refusal would have said.
        reason: Reason,
        /// The rule's name, as the policy gives it.
        rule: &'a str,
    },
    /// A fault was injected into a request.
    FaultInjected {
        /// Who was called.
        service: &'a ServiceName,
        /// On which route.
        route: &'a RouteName,
        /// `delay` or `abort`.
        kind: &'static str,
    },
    /// A request that an open circuit would have refused was answered in another way.
    FallbackServed {
        /// Whose circuit.
        service: &'a ServiceName,
        /// Which route's.
        route: &'a RouteName,
        /// `fixed`, or `service` when another one was asked.
        kind: &'static str,
    },
    /// What became of the copy of a request.
    Mirrored {
        /// Whose request was copied.
        service: &'a ServiceName,
        /// On which route.
        route: &'a RouteName,
        /// `answered` (nobody compares), `same`, `status`, `headers` or `body` (they differ),
        /// `failed`, `incomplete` (no whole answer to compare), or why there is no copy:
        /// `too_large`, `unread`, `full`.
        result: &'static str,
    },
    /// A service begins to turn requests away for want of CPU, or no longer does.
    Shedding {
        /// Which service of ours.
        service: &'a ServiceName,
        /// The share that is still admitted.
        admits: Ratio,
        /// Whether it begins.
        begins: bool,
    },
    /// A circuit changed its state.
    CircuitChanged {
        /// Whose.
        service: &'a ServiceName,
        /// Which route's.
        route: &'a RouteName,
        /// The state before.
        from: CircuitState,
        /// The state now.
        to: CircuitState,
    },
    /// An endpoint was taken out.
    Ejected {
        /// Of which service.
        service: &'a ServiceName,
        /// Which one.
        endpoint: &'a Endpoint,
        /// Why.
        cause: EjectionCause,
        /// For how long at least.
        span: Duration,
    },
    /// An ejected endpoint came back.
    Returned {
        /// Of which service.
        service: &'a ServiceName,
        /// Which one.
        endpoint: &'a Endpoint,
    },
    /// So few endpoints are usable that ejection and checks are ignored, or no longer.
    Panicking {
        /// Whose endpoints.
        service: &'a ServiceName,
        /// Whether it begins.
        begins: bool,
    },
    /// A new set of endpoints is in use.
    SetChanged {
        /// Whose.
        service: &'a ServiceName,
        /// The snapshot's version.
        version: u64,
        /// All instances in it.
        instances: usize,
        /// Endpoints that may be picked.
        usable: usize,
        /// How fresh it is.
        freshness: Freshness,
    },
    /// The registry says that a service has no instances, and we do not believe it yet, or no longer doubt.
    HoldingEmpty {
        /// Whose set is held.
        service: &'a ServiceName,
        /// Whether it begins.
        begins: bool,
    },
    /// The registry can be reached, or no longer.
    Registry {
        /// Whether it can.
        connected: bool,
        /// What went wrong, one of a fixed set of words.
        class: &'static str,
    },
    /// Another policy, or another version of one, came into force.
    PolicyChanged {
        /// Whose.
        service: &'a ServiceName,
        /// Which version; the default one where there is no policy.
        version: PolicyVersion,
        /// Where it comes from, one of a fixed set of words.
        source: &'static str,
    },
    /// A policy is not to be had, so that what is in force stays; or it is to be had again.
    PolicyTrouble {
        /// Whose.
        service: &'a ServiceName,
        /// Why, one of a fixed set of words; the last one when it ends.
        class: &'static str,
        /// Whether it begins, or changes.
        begins: bool,
    },
    /// Our own registration changed.
    Registration {
        /// Which service of ours.
        service: &'a ServiceName,
        /// What became of it.
        state: RegistrationState,
    },
}

impl Event<'_> {
    /// Whether it may come with every request; all others are changes of state.
    #[must_use]
    pub const fn is_of_request(&self) -> bool {
        matches!(
            self,
            Self::Finished { .. }
                | Self::Tried { .. }
                | Self::Rejected { .. }
                | Self::Retried { .. }
                | Self::RetryForbidden { .. }
                | Self::Spared { .. }
                | Self::FaultInjected { .. }
                | Self::FallbackServed { .. }
                | Self::Mirrored { .. }
        )
    }
}

/// What became of a registration of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistrationState {
    /// The registry has not confirmed it yet; it is being tried.
    Pending,
    /// It stands in the registry.
    Registered,
    /// The registry had lost or changed it, and it was made anew.
    Restored,
    /// A heartbeat did not get through.
    HeartbeatMissed,
    /// It is in maintenance: registered, and critical on purpose.
    Maintenance,
    /// It was taken back.
    Deregistered,
}

impl RegistrationState {
    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Restored => "restored",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::Maintenance => "maintenance",
            Self::Deregistered => "deregistered",
        }
    }
}

/// Is told what happens.
///
/// Cost: called on the request path, so an implementation takes no lock that is held for long,
/// does no I/O and allocates nothing for the first three events.
pub trait Observe: fmt::Debug + Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);

    /// Whether it wants to hear of single requests too ([`Event::is_of_request`]); asked once.
    /// Default true. One that does not costs nothing on the request path.
    fn hears_requests(&self) -> bool {
        true
    }
}

/// Everybody who is told; cheap to clone, possibly nobody.
#[derive(Clone, Debug, Default)]
pub struct Observers {
    /// Those who hear of single requests stand first.
    all: Option<Arc<[Arc<dyn Observe>]>>,
    /// How many of them do.
    of_requests: usize,
}

impl Observers {
    /// Nobody.
    #[must_use]
    pub const fn none() -> Self {
        Self { all: None, of_requests: 0 }
    }

    /// One more listener.
    #[must_use]
    pub fn with(self, observer: Arc<dyn Observe>) -> Self {
        let before = self.all.as_deref().unwrap_or_default();
        before.iter().cloned().chain([observer]).collect()
    }

    /// Tells everybody who wants to know.
    pub fn emit(&self, event: &Event<'_>) {
        if let Some(all) = &self.all {
            let most = if event.is_of_request() { self.of_requests } else { all.len() };
            for observer in all.iter().take(most) {
                observer.observe(event);
            }
        }
    }

    /// Whether nobody listens, so that an event need not be made.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_none()
    }

    /// Whether anybody hears of single requests, so that events of them are to be made.
    #[must_use]
    pub const fn hears_requests(&self) -> bool {
        self.of_requests > 0
    }
}

impl FromIterator<Arc<dyn Observe>> for Observers {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Observe>>>(observers: I) -> Self {
        let (mut all, others): (Vec<_>, Vec<_>) =
            observers.into_iter().partition(|observer| observer.hears_requests());
        let of_requests = all.len();
        all.extend(others);
        Self { all: (!all.is_empty()).then(|| all.into()), of_requests }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counting {
        told: AtomicU32,
        deaf: bool,
    }

    impl Observe for Counting {
        fn observe(&self, _: &Event<'_>) {
            self.told.fetch_add(1, Ordering::Relaxed);
        }

        fn hears_requests(&self) -> bool {
            !self.deaf
        }
    }

    #[test]
    fn who_wants_changes_only_is_not_told_of_requests() {
        let (all, changes) =
            (Arc::new(Counting::default()), Counting { deaf: true, ..<_>::default() });
        let changes = Arc::new(changes);
        let none = Observers::none().with(Arc::clone(&changes) as _);
        assert!(!none.is_empty() && !none.hears_requests());
        let observers = none.with(Arc::clone(&all) as _);
        assert!(observers.hears_requests(), "whoever came last");

        let service = ServiceName::new("stock").expect("valid");
        observers.emit(&Event::Retried { service: &service, attempt: 1, hedge: false });
        observers.emit(&Event::Panicking { service: &service, begins: true });
        let told = |counting: &Counting| counting.told.load(Ordering::Relaxed);
        assert_eq!((told(&all), told(&changes)), (2, 1));
    }
}
