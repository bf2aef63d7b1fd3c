//! The endpoints of one service, as one caller sees them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_core::{EjectionCause, ServiceName};

use crate::candidates::{Candidates, is_usable};
use crate::config::{ConfigError, EjectConfig};
use crate::eject::{News, is_one_too_many, return_all, sweep, take_out};
use crate::estimate::Nanos;
use crate::hash::{hash_key, mix};
use crate::options::{Change, Members, SetOptions};
use crate::pick::{Completion, NoEndpoint, Pick, PickRequest};
use crate::picker::Choice;
use crate::roster::{Key, Roster};
use crate::state::{Member, State, nanos};
use crate::view::{SetView, view_of};

/// The endpoints of one service, as one caller sees them, with what it has learnt of each.
///
/// Cheap to clone; clones are the same set. All methods take `&self`, none waits for I/O, and none
/// reads a clock. Instants before [`EndpointSet::new`]'s are taken as that one.
#[derive(Clone, Debug)]
pub struct EndpointSet(Arc<Core>);

impl EndpointSet {
    /// An empty set: every pick is refused until the first [`update`](Self::update).
    ///
    /// # Errors
    /// [`ConfigError`] when a setting is out of range.
    pub fn new(options: SetOptions, now: Instant) -> Result<Self, ConfigError> {
        options.validate()?;
        let core = Arc::new_cyclic(|weak| Core {
            service: options.service.clone(),
            origin: now,
            candidates: ArcSwap::from_pointee(Candidates::empty()),
            eject: ArcSwapOption::new(options.eject.clone().map(Arc::new)),
            due: AtomicU64::new(Nanos::MAX),
            total: Arc::new(AtomicU64::new(0)),
            roster: Mutex::new(Roster::new(options)),
            weak: weak.clone(),
        });
        Ok(Self(core))
    }

    /// Whose endpoints these are.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.0.service
    }

    /// Chooses an endpoint for one try.
    ///
    /// # Errors
    /// [`NoEndpoint`] when there is nothing to choose from; waiting helps only if the set changes.
    ///
    /// Cost: O(1), no allocation and no lock. Once per ejection interval one pick does the sweep
    /// that [`tick`](Self::tick) would have done, if nobody called it.
    pub fn pick(
        &self,
        request: &PickRequest<'_>,
        rng: &mut fastrand::Rng,
    ) -> Result<Pick, NoEndpoint> {
        let core = &*self.0;
        let now = nanos(core.origin, request.now);
        if now >= core.due.load(Relaxed) {
            core.maintain(now);
        }
        let candidates = core.candidates.load();
        let none = || NoEndpoint { service: core.service.clone() };
        let group = candidates.group(request.subset).ok_or_else(none)?;
        let counted = candidates.algorithm.is_hashing();
        let total = if counted { core.total.load(Relaxed) } else { 0 };
        let choice = Choice::new(&candidates, group, request, now, total, rng);
        let (index, load) = choice.make(rng).ok_or_else(none)?;
        let slate = choice.slate();
        let entry = &slate.entries[index];
        let count = slate.entries.len() as u32;
        let member = Arc::clone(&entry.member);
        Ok(Pick::new(member, now, counted, count, group.panicking, load, entry.share))
    }

    /// Puts a new set into use; what is known of endpoints that stay, or that were here a short
    /// while ago, is kept.
    ///
    /// Shape: endpoints are the same if instance id and address are. A process that says it
    /// started anew (another boot nonce) is a newcomer.
    ///
    /// Cost: O(n), about 3 ms for 5,000 endpoints, four times that with a hash table.
    pub fn update(&self, members: Members, now: Instant) -> Change {
        self.0.update(members, nanos(self.0.origin, now))
    }

    /// Puts other settings into force and keeps everything that is known of the endpoints.
    ///
    /// # Errors
    /// [`ConfigError`] when a setting is out of range; the set stays as it was.
    pub fn reconfigure(&self, options: SetOptions, now: Instant) -> Result<(), ConfigError> {
        options.validate()?;
        self.0.reconfigure(options, nanos(self.0.origin, now));
        Ok(())
    }

    /// Lets ejected endpoints return and ends slow starts, when it is time for either.
    ///
    /// Called by the owner about once a second, so that they return though nobody picks. Never
    /// wrong to call, and never needed for a set that is used: picks see to it.
    pub fn tick(&self, now: Instant) {
        self.0.maintain(nanos(self.0.origin, now));
    }

    /// How many endpoints are registered, and how many of them are usable.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let roster = self.0.roster();
        (roster.members.len(), roster.members.iter().filter(|m| is_usable(m)).count())
    }

    /// The set as it is now, for pages and answers.
    #[must_use]
    pub fn view(&self, now: Instant) -> SetView {
        self.0.view(nanos(self.0.origin, now))
    }
}

/// What the handles of a set share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) service: ServiceName,
    origin: Instant,
    candidates: ArcSwap<Candidates>,
    /// The roster's settings again, for failed tries, which must not wait for its lock.
    eject: ArcSwapOption<EjectConfig>,
    /// When the next maintenance is due; one word that each pick reads.
    due: AtomicU64,
    /// Requests in flight over all endpoints, kept for bounded hashing only.
    total: Arc<AtomicU64>,
    roster: Mutex<Roster>,
    weak: Weak<Self>,
}

/// Sets up to this size are made anew at each ejection; larger ones at most every
/// `REBUILD_EVERY`, while picks step over what was ejected in between: a brownout of thousands
/// would otherwise cost the square of their number.
const SMALL: usize = 256;
const REBUILD_EVERY: Nanos = 20_000_000;

impl Core {
    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Every change of the roster is completed before anything that can panic is called.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, members: Members, now: Nanos) -> Change {
        let mut news = News::default();
        let mut roster = self.roster();
        let change = roster.replace(self, members.endpoints, now);
        roster.version = members.version;
        roster.freshness = members.freshness;
        self.rebuild(&mut roster, now, &mut news);
        news.set_changed(
            members.version,
            roster.members.len(),
            roster.members.iter().filter(|m| is_usable(m)).count(),
            members.freshness,
        );
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
        change
    }

    fn reconfigure(&self, options: SetOptions, now: Nanos) {
        let mut news = News::default();
        let mut roster = self.roster();
        let before = roster.options.eject.as_ref().map(|eject| eject.interval);
        let interval = options.eject.as_ref().map(|eject| eject.interval);
        if interval != before {
            roster.next_sweep =
                interval.map_or(Nanos::MAX, |span| now.saturating_add(span.as_nanos() as Nanos));
        }
        if options.eject.is_none() {
            return_all(&roster.members, now, &mut news);
        }
        self.eject.store(options.eject.clone().map(Arc::new));
        roster.options = SetOptions { service: self.service.clone(), ..options };
        self.rebuild(&mut roster, now, &mut news);
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
    }

    /// A failed try; ejects the endpoint if that was one too many.
    pub(crate) fn failed(&self, member: &Arc<Member>, completion: &Completion, now: Nanos) {
        let eject = self.eject.load();
        let Some(eject) = eject.as_deref() else { return };
        if !is_one_too_many(eject, &member.state, completion) {
            return;
        }
        let mut news = News::default();
        let mut roster = self.roster();
        let cause = EjectionCause::ConsecutiveErrors;
        if !take_out(&roster.members, eject, member, cause, now, &mut news) {
            return;
        }
        if roster.members.len() <= SMALL {
            self.rebuild(&mut roster, now, &mut news);
        } else {
            roster.rebuild_at = roster.rebuild_at.min(roster.rebuilt.saturating_add(REBUILD_EVERY));
            self.schedule(&roster);
        }
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
    }

    /// Does what is due. Whoever finds another at it goes on with what there is.
    fn maintain(&self, now: Nanos) {
        let mut roster = match self.roster.try_lock() {
            Ok(roster) => roster,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if now < self.due.load(Relaxed) {
            return;
        }
        let mut news = News::default();
        sweep(&mut roster, now, &mut news);
        if !news.is_empty() || roster.rebuild_at <= now || roster.warm_until() <= now {
            self.rebuild(&mut roster, now, &mut news);
        } else {
            self.schedule(&roster);
        }
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
    }

    fn rebuild(&self, roster: &mut Roster, now: Nanos, news: &mut News) {
        roster.end_slow_starts(now);
        roster.turn += 1;
        let candidates = Candidates::new(&roster.members, &roster.options, roster.turn);
        if candidates.whole.panicking != roster.panicking {
            roster.panicking = candidates.whole.panicking;
            news.panicking(roster.panicking);
        }
        self.candidates.store(Arc::new(candidates));
        roster.rebuilt = now;
        roster.rebuild_at = Nanos::MAX;
        self.schedule(roster);
    }

    fn schedule(&self, roster: &Roster) {
        let due = roster.next_sweep.min(roster.rebuild_at).min(roster.warm_until());
        self.due.store(due, Relaxed);
    }

    fn view(&self, now: Nanos) -> SetView {
        let roster = self.roster();
        let candidates = self.candidates.load();
        let group = &candidates.whole;
        let slates = [&group.near, &group.far];
        let listed: HashSet<*const State> = slates
            .iter()
            .flat_map(|slate| slate.entries.iter())
            .map(|entry| Arc::as_ptr(&entry.state))
            .collect();
        let slow = roster.options.balance.slow_start;
        let endpoints = roster
            .members
            .iter()
            .map(|member| view_of(member, slow.as_ref(), &listed, now))
            .collect();
        SetView {
            version: roster.version,
            freshness: roster.freshness,
            panicking: group.panicking,
            near_share: if group.near.entries.is_empty() { 0.0 } else { group.near_share.get() },
            endpoints,
        }
    }

    /// The state of an endpoint that was not known before.
    pub(crate) fn state(&self, (id, address): &Key, boot: Option<Arc<str>>) -> Arc<State> {
        let place = hash_key(address.to_string().as_bytes());
        let key = mix(hash_key(id.as_str().as_bytes()) ^ place.rotate_left(32));
        let total = Arc::clone(&self.total);
        Arc::new(State::new(key, boot, self.origin, total, self.weak.clone()))
    }
}
