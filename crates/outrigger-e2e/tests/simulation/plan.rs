//! What breaks, when, and for how long: all of it follows from the seed.

use std::time::Duration;

use fastrand::Rng;

/// When faults may begin.
const FAULTS: std::ops::Range<u64> = 8_000..55_000;
/// When everything is made whole that is to be.
pub(crate) const HEAL: Duration = Duration::from_secs(75);
/// How long after that all is well again, at the latest: a question that nobody will answer (26 s),
/// then the hold (30 s), the longest pause between two questions of a watch (8 s), and the way.
pub(crate) const SETTLE: Duration = Duration::from_secs(66);
/// How long it is watched that all is well.
pub(crate) const WELL: Duration = Duration::from_secs(10);

/// Two ends of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) String, pub(crate) String);

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Whatever is sent is lost, both ways.
    Cut(Link),
    /// Whatever the first sends the second is lost.
    CutOneWay(Link),
    /// Whatever is sent waits.
    Stall(Link),
    /// Whatever is sent takes up to half a second.
    Slow(Link),
    /// The registry is killed and started again.
    KillRegistry,
    /// The registry stands still, and its clock with it.
    PauseRegistry,
    /// An endpoint is killed.
    Kill(usize),
    /// An endpoint leaves in order.
    Leave(usize),
}

impl Fault {
    pub(crate) fn link(&self) -> Option<&Link> {
        match self {
            Self::Cut(link) | Self::CutOneWay(link) | Self::Stall(link) | Self::Slow(link) => {
                Some(link)
            }
            _ => None,
        }
    }

    /// Whether it concerns what this host knows from the registry.
    pub(crate) fn disturbs(&self, host: &str) -> bool {
        match self {
            Self::KillRegistry | Self::PauseRegistry => true,
            Self::Kill(_) | Self::Leave(_) => false,
            _ => self.link().is_some_and(|Link(a, b)| {
                [a.as_str(), b.as_str()].contains(&"registry") && [a, b].iter().any(|e| *e == host)
            }),
        }
    }
}

/// One fault and its time.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) from: Duration,
    /// `None` for good.
    pub(crate) until: Option<Duration>,
    pub(crate) fault: Fault,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) endpoints: usize,
    pub(crate) callers: usize,
    /// How long a watch waits for a change.
    pub(crate) wait: Duration,
    /// Whether a registry that was killed remembers what it knew.
    pub(crate) remembers: bool,
    /// Whether only the registry, and the ways to it, break: then no request may fail.
    pub(crate) registry_only: bool,
    pub(crate) faults: Vec<Planned>,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x6f75_7472_6967_6765);
        let (endpoints, callers) = (rng.usize(3..=5), rng.usize(2..=3));
        let mut plan = Self {
            endpoints,
            callers,
            wait: Duration::from_secs(20),
            remembers: rng.bool(),
            registry_only: rng.u8(..3) == 0,
            faults: Vec::new(),
        };
        // At most one endpoint is gone for good, so that no set needs to panic in the end.
        let mut may_stay_away = true;
        let mut hit = vec![false; endpoints];
        for _ in 0..rng.usize(4..=10) {
            let from = Duration::from_millis(rng.u64(FAULTS));
            let length = Duration::from_millis(rng.u64(500..35_000));
            let mut until = Some((from + length).min(HEAL));
            let Some(fault) = plan.draw(&mut rng) else { continue };
            if let Fault::Kill(index) | Fault::Leave(index) = fault {
                // One end each: what is killed twice is no other case.
                if std::mem::replace(&mut hit[index], true) {
                    continue;
                }
                if may_stay_away && rng.bool() {
                    (until, may_stay_away) = (None, false);
                }
            }
            plan.faults.push(Planned { from, until, fault });
        }
        plan.faults.sort_by_key(|planned| planned.from);
        plan
    }

    fn draw(&self, rng: &mut Rng) -> Option<Fault> {
        let endpoint = rng.usize(..self.endpoints);
        let caller = rng.usize(..self.callers);
        let to_registry = self.registry_only || rng.bool();
        let link = match (to_registry, rng.bool()) {
            (true, true) => Link("registry".into(), format!("e{endpoint}")),
            (true, false) => Link("registry".into(), format!("c{caller}")),
            (false, _) => Link(format!("c{caller}"), format!("e{endpoint}")),
        };
        let link = if rng.bool() { link } else { Link(link.1, link.0) };
        Some(match rng.u8(..9) {
            0 | 1 => Fault::Cut(link),
            2 => Fault::CutOneWay(link),
            3 => Fault::Stall(link),
            4 => Fault::Slow(link),
            5 => Fault::KillRegistry,
            6 => Fault::PauseRegistry,
            7 if !self.registry_only => Fault::Kill(endpoint),
            8 if !self.registry_only => Fault::Leave(endpoint),
            _ => return None,
        })
    }
}
