//! Whether an empty answer, or one after a loss of memory, is to be believed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_core::{Address, Freshness, Instance, InstanceId};

/// How long a set is held against an answer that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardConfig {
    /// How long an empty answer is not believed; 1 s to 1 h. Default 30 s, or twice the time to
    /// live of the checks where that is longer ([`GuardConfig::for_ttl`]).
    pub hold: Duration,
    /// How long after the first empty answer a second one may confirm it; at most `hold`.
    /// Default 10 s.
    pub confirm_after: Duration,
    /// How long instances that a registry forgot are kept while they still accept connections, and
    /// how long an answer is doubted that says itself that it is not whole; at least `hold`, at
    /// most 1 day. Default 10 min.
    pub stale_for: Duration,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { hold: secs(30), confirm_after: secs(10), stale_for: secs(600) }
    }
}

/// Why a [`GuardConfig`] is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guard key `{key}` is {value:?}; allowed: {allowed}")]
#[non_exhaustive]
pub struct GuardConfigError {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: Duration,
    /// What is allowed.
    pub allowed: &'static str,
}

impl GuardConfig {
    /// The default for checks that live for `ttl`: holds twice as long, 30 s at least.
    #[must_use]
    pub fn for_ttl(ttl: Duration) -> Self {
        let default = Self::default();
        let hold = default.hold.max(ttl.saturating_mul(2)).min(Duration::from_secs(3600));
        Self { hold, stale_for: default.stale_for.max(hold), ..default }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key that is out of range, with what is allowed.
    pub fn validate(&self) -> Result<(), GuardConfigError> {
        let secs = Duration::from_secs;
        for (key, value, fits, allowed) in [
            ("hold", self.hold, (secs(1)..=secs(3600)).contains(&self.hold), "1s to 1h"),
            ("confirm_after", self.confirm_after, self.confirm_after <= self.hold, "0s to `hold`"),
            (
                "stale_for",
                self.stale_for,
                (self.hold..=secs(86_400)).contains(&self.stale_for),
                "`hold` to 1day",
            ),
        ] {
            if !fits {
                return Err(GuardConfigError { key, value, allowed });
            }
        }
        Ok(())
    }
}

/// One answer of the registry, as the guard looks at it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The instances it lists.
    pub instances: Vec<Arc<Instance>>,
    /// The registry's counter; falls when it lost its memory.
    pub index: u64,
    /// Whether the registry said that it left something out for want of rights.
    pub filtered: bool,
    /// Whether the registry still lists another service that it listed before. `Some(false)`: it
    /// listed others before, and now none of them. `None`: nobody asked, or there was no other.
    pub witness: Option<bool>,
}

impl Answer {
    /// An answer with nothing special about it.
    #[must_use]
    pub const fn new(instances: Vec<Arc<Instance>>, index: u64) -> Self {
        Self { instances, index, filtered: false, witness: None }
    }

    /// Says whether the registry left something out.
    #[must_use]
    pub const fn with_filtered(mut self, filtered: bool) -> Self {
        self.filtered = filtered;
        self
    }

    /// Says whether another service is still listed.
    #[must_use]
    pub const fn with_witness(mut self, witness: Option<bool>) -> Self {
        self.witness = witness;
        self
    }
}

/// The set to use now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The instances: what the registry lists, and what is kept against its word.
    pub instances: Vec<Arc<Instance>>,
    /// `Live` when they are the registry's word alone, `Held` while an answer is doubted, `Stale`
    /// when forgotten instances are kept because they still accept connections, or the registry
    /// cannot be reached.
    pub freshness: Freshness,
}

/// Decides whether an empty answer is believed; a pure state machine, one per watch.
///
/// A registry answers "no instances" when there are none, and also when the token has no right to
/// see them, and when it has just lost its memory. So a working set is not emptied at once:
///
/// 1. The first empty answer is held against for [`GuardConfig::hold`], then believed.
/// 2. A second one is believed earlier when it comes [`GuardConfig::confirm_after`] after the
///    first, the index did not fall, the registry still lists another service that it listed
///    before, and it did not say that it left something out.
/// 3. After a loss of memory (the index fell; nothing is listed that was; or the first answer
///    after the registry was away is empty) every instance that is missing is kept for `hold`,
///    and after that for [`GuardConfig::stale_for`] in all while it accepts connections: clients
///    of other languages do not register again by themselves.
/// 4. An instance that is missing from the first answer after the registry was away may have left
///    meanwhile, or have been forgotten by a registry that has already counted on past its old
///    index. It is kept for [`GuardConfig::hold`] while it accepts connections, until a probe is
///    refused otherwise, and no longer than [`GuardConfig::confirm_after`] without one.
/// 5. Time in which the registry cannot be reached does not count: nothing is learnt then. All
///    other time does, so nothing is held for ever.
///
/// Shape: [`Guard::observe`] per answer, [`Guard::lost`] when the registry cannot be reached,
/// [`Guard::tick`] at [`Guard::deadline`], [`Guard::probed`] for what [`Guard::suspects`] names.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    listed: Vec<Arc<Instance>>,
    kept: Vec<Kept>,
    index: u64,
    lost_at: Option<Instant>,
    hold: Option<Hold>,
}

/// The doubt about an empty answer.
#[derive(Clone, Debug)]
struct Hold {
    since: Instant,
    index: u64,
    filtered: bool,
}

/// An instance that the registry no longer lists.
#[derive(Clone, Debug)]
struct Kept {
    instance: Arc<Instance>,
    since: Instant,
    why: Why,
    // What the last probe said; `None` before the first.
    accepts: Option<bool>,
}

/// Why an instance that is not listed is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Nothing is listed at all.
    Emptied,
    /// The registry forgot it, which says nothing about the instance.
    Forgotten,
    /// It went missing while the registry was away.
    Away,
}

impl Kept {
    fn is_doubted(&self) -> bool {
        self.why == Why::Emptied
    }
}

impl Guard {
    /// A guard that has seen nothing.
    #[must_use]
    pub const fn new(config: GuardConfig) -> Self {
        Self { config, listed: Vec::new(), kept: Vec::new(), index: 0, lost_at: None, hold: None }
    }

    /// Weighs an answer.
    pub fn observe(&mut self, answer: Answer, now: Instant) -> Verdict {
        let Answer { instances, index, filtered, witness } = answer;
        let was_lost = self.resume(now);
        let fell = index < self.index;
        let emptied = instances.is_empty();
        let forgot = fell || (emptied && (was_lost || witness == Some(false)));
        self.index = index;

        let missing = self.missing_from(&instances);
        if emptied {
            self.keep(missing, if forgot { Why::Forgotten } else { Why::Emptied }, now);
            self.doubt(index, filtered, now);
            if !forgot && witness == Some(true) && self.is_confirmed(index, now) {
                self.kept.clear();
            }
        } else {
            let present = Presence::of(&instances);
            self.kept.retain(|kept| kept.why != Why::Emptied && !present.holds(&kept.instance));
            self.hold = None;
            if forgot {
                self.keep(missing, Why::Forgotten, now);
            } else if was_lost {
                self.keep(missing, Why::Away, now);
            }
        }
        self.listed = instances;
        self.settle(now)
    }

    /// Notes that the registry cannot be reached: the set stays as it is until it can.
    pub fn lost(&mut self, now: Instant) -> Verdict {
        self.lost_at.get_or_insert(now);
        self.settle(now)
    }

    /// Weighs the set again because time has passed.
    pub fn tick(&mut self, now: Instant) -> Verdict {
        self.settle(now)
    }

    /// When [`Guard::tick`] can next change anything; `None` when only an answer can.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.lost_at.is_some() {
            return None;
        }
        self.kept.iter().map(|kept| kept.since + self.limit(kept)).min()
    }

    /// When a second empty answer could confirm the first: the moment to ask again, and whether
    /// another service is still listed. `None` when there is nothing to confirm.
    #[must_use]
    pub fn confirm_at(&self) -> Option<Instant> {
        let hold = self.hold.as_ref().filter(|hold| !hold.filtered)?;
        let open = self.lost_at.is_none() && self.kept.iter().all(Kept::is_doubted);
        open.then(|| hold.since + self.config.confirm_after)
    }

    /// Whether an answer is doubted, or forgotten instances are kept.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The instances whose absence says nothing about them: whether they accept connections
    /// decides how long they are kept.
    pub fn suspects(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.kept.iter().filter(|kept| kept.why != Why::Emptied).map(|kept| &kept.instance)
    }

    /// Notes whether an instance accepted a connection just now.
    pub fn probed(&mut self, id: &InstanceId, accepts: bool) {
        for kept in self.kept.iter_mut().filter(|kept| kept.instance.id == *id) {
            kept.accepts = Some(accepts);
        }
    }

    // How long an instance is kept, counted from `since`.
    fn limit(&self, kept: &Kept) -> Duration {
        let filtered = self.hold.as_ref().is_some_and(|hold| hold.filtered);
        match (kept.why, kept.accepts) {
            _ if filtered => self.config.stale_for,
            (Why::Forgotten, Some(true)) => self.config.stale_for,
            (Why::Away, Some(false)) => Duration::ZERO,
            (Why::Away, None) => self.config.confirm_after,
            _ => self.config.hold,
        }
    }

    // Takes the time that the registry was away out of every account.
    fn resume(&mut self, now: Instant) -> bool {
        let Some(lost_at) = self.lost_at.take() else { return false };
        let away = now.saturating_duration_since(lost_at);
        self.kept.iter_mut().for_each(|kept| kept.since += away);
        if let Some(hold) = &mut self.hold {
            hold.since += away;
        }
        true
    }

    fn missing_from(&self, instances: &[Arc<Instance>]) -> Vec<Arc<Instance>> {
        let present = Presence::of(instances);
        self.listed.iter().filter(|instance| !present.holds(instance)).cloned().collect()
    }

    fn keep(&mut self, missing: Vec<Arc<Instance>>, why: Why, now: Instant) {
        if why == Why::Forgotten {
            // What was in doubt before is now known to say nothing about the instances.
            self.kept.iter_mut().for_each(|kept| kept.why = why);
        }
        self.kept.extend(missing.into_iter().map(|instance| Kept {
            instance,
            since: now,
            why,
            accepts: None,
        }));
    }

    fn doubt(&mut self, index: u64, filtered: bool, now: Instant) {
        if self.kept.is_empty() {
            return;
        }
        let hold = self.hold.get_or_insert(Hold { since: now, index, filtered });
        // Follows the newest answer: a token that got its rights back ends that doubt.
        hold.filtered = filtered;
    }

    fn is_confirmed(&self, index: u64, now: Instant) -> bool {
        let unforgotten = self.kept.iter().all(Kept::is_doubted);
        self.hold.as_ref().is_some_and(|hold| {
            !hold.filtered
                && unforgotten
                && index >= hold.index
                && now.saturating_duration_since(hold.since) >= self.config.confirm_after
        })
    }

    fn settle(&mut self, now: Instant) -> Verdict {
        if self.lost_at.is_none() {
            let mut kept = std::mem::take(&mut self.kept);
            kept.retain(|kept| now.saturating_duration_since(kept.since) < self.limit(kept));
            self.kept = kept;
        }
        if self.kept.is_empty() {
            self.hold = None;
        }
        let mut instances = self.listed.clone();
        instances.extend(self.kept.iter().map(|kept| Arc::clone(&kept.instance)));
        Verdict { instances, freshness: self.freshness(now) }
    }

    fn freshness(&self, now: Instant) -> Freshness {
        let doubted = |kept: &Kept| {
            kept.why != Why::Forgotten
                || now.saturating_duration_since(kept.since) < self.config.hold
        };
        match (self.lost_at, self.kept.is_empty()) {
            (Some(_), _) => Freshness::Stale,
            (None, true) => Freshness::Live,
            (None, false) if self.kept.iter().any(doubted) => Freshness::Held,
            (None, false) => Freshness::Stale,
        }
    }
}

/// Who is in an answer: by id, and by address, since a process that came back under another id at
/// the same address has taken the place of the one that is missing.
struct Presence<'a> {
    ids: HashSet<&'a InstanceId>,
    addresses: HashSet<&'a Address>,
}

impl<'a> Presence<'a> {
    fn of(instances: &'a [Arc<Instance>]) -> Self {
        let ids = instances.iter().map(|instance| &instance.id).collect();
        let addresses = instances.iter().map(|instance| &instance.address).collect();
        Self { ids, addresses }
    }

    fn holds(&self, instance: &Instance) -> bool {
        self.ids.contains(&instance.id) || self.addresses.contains(&instance.address)
    }
}

#[cfg(test)]
mod tests;
