//! The endpoints of one service, as one caller sees them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use outrigger_core::{
    Address, Endpoint, Freshness, Instance, InstanceId, Observers, Ratio, ServiceName, Snapshot,
};

use crate::candidates::{Candidates, is_usable};
use crate::config::{BalanceConfig, ConfigError, EjectConfig};
use crate::eject::News;
use crate::estimate::Nanos;
use crate::hash::{hash_key, mix};
use crate::pick::{NoEndpoint, Pick, PickRequest};
use crate::picker::Choice;
use crate::state::{Member, State, nanos};
use crate::subset::Subset;
use crate::view::{EndpointStatus, EndpointView, SetView};

/// What a set is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetOptions {
    /// Whose endpoints.
    pub service: ServiceName,
    /// How they are chosen. Default as the policy's.
    pub balance: BalanceConfig,
    /// When they are ejected; `None` for never. Default as the policy's.
    pub eject: Option<EjectConfig>,
    /// Subsets that a pick may ask for by name.
    pub subsets: Vec<(Arc<str>, Subset)>,
    /// Who calls, and from where.
    pub caller: Caller,
    /// Where round robin begins. Default 0, which is right for tests only: callers that all begin
    /// at the same endpoint march in step.
    pub seed: u64,
    /// Who is told of ejections, panic and new sets.
    pub observers: Observers,
}

impl SetOptions {
    /// The defaults of the policy, for an unknown caller.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self {
            service,
            balance: BalanceConfig::default(),
            eject: Some(EjectConfig::default()),
            subsets: Vec::new(),
            caller: Caller::default(),
            seed: 0,
            observers: Observers::none(),
        }
    }

    /// How endpoints are chosen.
    #[must_use]
    pub fn with_balance(mut self, balance: BalanceConfig) -> Self {
        self.balance = balance;
        self
    }

    /// When they are ejected.
    #[must_use]
    pub fn with_eject(mut self, eject: Option<EjectConfig>) -> Self {
        self.eject = eject;
        self
    }

    /// One more subset that a pick may ask for.
    #[must_use]
    pub fn with_subset(mut self, name: impl Into<Arc<str>>, subset: Subset) -> Self {
        self.subsets.push((name.into(), subset));
        self
    }

    /// Who calls.
    #[must_use]
    pub fn with_caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Where round robin begins.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Who is told.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.balance.validate()?;
        self.eject.as_ref().map_or(Ok(()), EjectConfig::validate)
    }
}

/// Who calls, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The caller's zone; without one no endpoint is near.
    pub zone: Option<Arc<str>>,
    /// The caller's datacenter; without one, every datacenter not in `failover` is taken as here.
    pub datacenter: Option<Arc<str>>,
    /// Tells this caller's aperture from others'; a hash of the instance id, see
    /// [`hash_key`].
    pub id: u64,
    /// This caller's place among all of its kind, where that is known: apertures then tile evenly.
    pub peers: Option<Peers>,
}

impl Caller {
    /// The caller of this id, somewhere.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self { zone: None, datacenter: None, id, peers: None }
    }

    /// Its zone.
    #[must_use]
    pub fn with_zone(mut self, zone: Option<Arc<str>>) -> Self {
        self.zone = zone;
        self
    }

    /// Its datacenter.
    #[must_use]
    pub fn with_datacenter(mut self, datacenter: Option<Arc<str>>) -> Self {
        self.datacenter = datacenter;
        self
    }

    /// Its place among all callers of its kind.
    #[must_use]
    pub const fn with_peers(mut self, peers: Option<Peers>) -> Self {
        self.peers = peers;
        self
    }
}

/// A caller's place among all callers of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an index and a count, nothing else can come")]
pub struct Peers {
    /// From 0, in an order on which all agree.
    pub index: u32,
    /// How many there are.
    pub count: NonZeroU32,
}

/// A whole set of endpoints, as resolved from a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Members {
    /// The snapshot's version.
    pub version: u64,
    /// How far it is to be trusted.
    pub freshness: Freshness,
    /// The endpoints, critical ones included; of two that are equal, the first counts.
    pub endpoints: Vec<Endpoint>,
}

impl Members {
    /// A live set.
    #[must_use]
    pub const fn new(version: u64, endpoints: Vec<Endpoint>) -> Self {
        Self { version, freshness: Freshness::Live, endpoints }
    }

    /// The endpoints of a snapshot; `resolve` answers with the addresses of a DNS name, or with
    /// none, which leaves the instance out.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        mut resolve: impl FnMut(&Arc<Instance>, &str, u16) -> Vec<SocketAddr>,
    ) -> Self {
        let mut endpoints = Vec::with_capacity(snapshot.instances.len());
        for instance in snapshot.instances.iter() {
            match &instance.address {
                Address::Socket(address) => {
                    endpoints.push(Endpoint::new(Arc::clone(instance), *address));
                }
                Address::Name(host, port) => {
                    let addresses = resolve(instance, host, *port);
                    let endpoint = |address| Endpoint::new(Arc::clone(instance), address);
                    endpoints.extend(addresses.into_iter().map(endpoint));
                }
                _ => {}
            }
        }
        Self { version: snapshot.version, freshness: snapshot.freshness, endpoints }
    }
}

/// What an update changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Endpoints that were not in the set before.
    pub added: usize,
    /// Endpoints that no longer are.
    pub removed: usize,
    /// Endpoints that are still there, and whose state was kept.
    pub kept: usize,
}

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
        let interval = options.eject.as_ref().map(|eject| eject.interval);
        let core = Arc::new_cyclic(|weak| Core {
            service: options.service.clone(),
            origin: now,
            candidates: ArcSwap::from_pointee(Candidates::empty()),
            due: AtomicU64::new(Nanos::MAX),
            total: Arc::new(AtomicU64::new(0)),
            roster: Mutex::new(Roster {
                options,
                members: Vec::new(),
                states: HashMap::new(),
                version: 0,
                freshness: Freshness::Live,
                panicking: false,
                next_sweep: interval.map_or(Nanos::MAX, |span| span.as_nanos() as Nanos),
                rebuild_at: Nanos::MAX,
                rebuilt: 0,
                turn: 0,
            }),
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
    /// Cost: O(n), about a millisecond for 5,000 endpoints.
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
    /// When the next maintenance is due; one word that each pick reads.
    due: AtomicU64,
    /// Requests in flight over all endpoints, kept for bounded hashing only.
    total: Arc<AtomicU64>,
    roster: Mutex<Roster>,
    weak: std::sync::Weak<Self>,
}

/// What changes under the lock.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) options: SetOptions,
    pub(crate) members: Vec<Arc<Member>>,
    states: HashMap<Key, Arc<State>>,
    version: u64,
    freshness: Freshness,
    panicking: bool,
    pub(crate) next_sweep: Nanos,
    /// When candidates that lag behind are to be made anew.
    rebuild_at: Nanos,
    rebuilt: Nanos,
    turn: u64,
}

type Key = (InstanceId, SocketAddr);

/// How long an endpoint that left is remembered.
const REMEMBERED: Nanos = 600 * 1_000_000_000;
/// How many that left are remembered beyond twice the set.
const REMEMBERED_MORE: usize = 64;
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
            crate::eject::return_all(&roster.members, now, &mut news);
        }
        roster.options = SetOptions { service: self.service.clone(), ..options };
        self.rebuild(&mut roster, now, &mut news);
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
    }

    /// A failed try; ejects the endpoint if that was one too many.
    pub(crate) fn failed(
        &self,
        member: &Arc<Member>,
        completion: &crate::pick::Completion,
        now: Nanos,
    ) {
        let mut news = News::default();
        let mut roster = self.roster();
        if !crate::eject::count(&mut roster, member, completion, now, &mut news) {
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
        crate::eject::sweep(&mut roster, now, &mut news);
        self.rebuild(&mut roster, now, &mut news);
        let observers = roster.options.observers.clone();
        drop(roster);
        news.tell(&self.service, &observers);
    }

    fn rebuild(&self, roster: &mut Roster, now: Nanos, news: &mut News) {
        roster.end_slow_starts(now);
        roster.turn += 1;
        let candidates = Candidates::new(&roster.members, &roster.options, now, roster.turn);
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
        let listed: std::collections::HashSet<*const State> = slates
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
}

fn view_of(
    member: &Member,
    slow: Option<&crate::config::SlowStart>,
    listed: &std::collections::HashSet<*const State>,
    now: Nanos,
) -> EndpointView {
    let state = &member.state;
    let ejection = state.ledger().ejection;
    let ramp = slow.map_or(1.0, |slow| state.ramp(now, slow));
    let instance = member.endpoint.instance();
    let status = if member.is_critical() {
        EndpointStatus::Critical
    } else if ejection.is_some() {
        EndpointStatus::Ejected
    } else if member.weight() == 0 {
        EndpointStatus::Unweighted
    } else if ramp < 1.0 {
        EndpointStatus::Warming
    } else if instance.status == outrigger_core::Status::Warning {
        EndpointStatus::Warning
    } else {
        EndpointStatus::Passing
    };
    let in_flight = state.in_flight.load(Relaxed);
    let queue = in_flight as f32;
    let cost = state.cost(queue, now);
    EndpointView {
        endpoint: member.endpoint.clone(),
        status,
        candidate: listed.contains(&Arc::as_ptr(state)),
        ejected_for: ejection.map(|e| Duration::from_nanos(e.until.saturating_sub(now))),
        ejected_by: ejection.map(|e| e.cause),
        weight: f64::from(member.weight()) * f64::from(ramp),
        in_flight,
        latency: cost.map(|cost| Duration::from_nanos((cost * (1.0 + queue).sqrt()) as u64)),
        load: f64::from(cost.unwrap_or(0.0) * (1.0 + queue)),
        requests: state.requests.load(Relaxed),
        failures: state.failures.load(Relaxed),
        errors_in_a_row: state.in_a_row.load(Relaxed),
    }
}

impl Roster {
    fn replace(&mut self, core: &Core, endpoints: Vec<Endpoint>, now: Nanos) -> Change {
        let typical = self.typical(now);
        let window = self.options.balance.slow_start.map(|slow| slow.window.as_nanos() as Nanos);
        // All of a first set are old hands: it is we who are new.
        let first = !self.members.iter().any(|member| is_usable(member));
        let mut before: HashMap<*const State, Arc<Member>> =
            self.members.drain(..).map(|m| (Arc::as_ptr(&m.state), m)).collect();
        let mut change = Change::default();
        let mut seen = std::collections::HashSet::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let instance = endpoint.instance();
            let key = (instance.id.clone(), endpoint.address());
            let state = self.states.get(&key).cloned();
            let known = state.is_some();
            let state = state.unwrap_or_else(|| core.state(&key, instance.boot.clone()));
            if !seen.insert(Arc::as_ptr(&state)) {
                continue;
            }
            if !known {
                self.states.insert(key, Arc::clone(&state));
            }
            let old = before.remove(&Arc::as_ptr(&state));
            if old.is_some() {
                change.kept += 1;
            } else {
                change.added += 1;
            }
            state.arrive(instance, !known, first, window, now);
            if let Some(typical) = typical {
                state.latency.borrow_from(typical);
            }
            let same = |old: &Arc<Member>| Arc::ptr_eq(old.endpoint.instance(), instance);
            let member = old.filter(same).unwrap_or_else(|| Arc::new(Member { endpoint, state }));
            self.members.push(member);
        }
        change.removed = before.len();
        for gone in before.into_values() {
            gone.state.ledger().away_since.get_or_insert(now);
        }
        self.forget(&seen, now);
        change
    }

    /// The median of what the set's own answers take.
    fn typical(&self, now: Nanos) -> Option<f32> {
        let mut costs: Vec<f32> =
            self.members.iter().filter_map(|m| m.state.latency.own(now)).collect();
        let middle = costs.len() / 2;
        if costs.is_empty() {
            return None;
        }
        let (_, median, _) = costs.select_nth_unstable_by(middle, f32::total_cmp);
        Some(*median)
    }

    /// Drops what left long ago, and the oldest of what is too much.
    fn forget(&mut self, present: &std::collections::HashSet<*const State>, now: Nanos) {
        let most = self.members.len() * 2 + REMEMBERED_MORE;
        self.states.retain(|_, state| {
            present.contains(&Arc::as_ptr(state))
                || state
                    .ledger()
                    .away_since
                    .is_some_and(|since| now.saturating_sub(since) < REMEMBERED)
        });
        if self.states.len() <= most {
            return;
        }
        let mut gone: Vec<(Nanos, Key)> = self
            .states
            .iter()
            .filter(|(_, state)| !present.contains(&Arc::as_ptr(state)))
            .map(|(key, state)| (state.ledger().away_since.unwrap_or(0), key.clone()))
            .collect();
        gone.sort_unstable_by_key(|&(since, _)| since);
        for (_, key) in gone.into_iter().take(self.states.len() - most) {
            self.states.remove(&key);
        }
    }

    fn end_slow_starts(&self, now: Nanos) {
        let window = self.window();
        for member in &self.members {
            let from = member.state.warm_from.load(Relaxed);
            if from != 0 && now.saturating_sub(from) >= window {
                member.state.warm_from.store(0, Relaxed);
            }
        }
    }

    /// When the first slow start ends.
    fn warm_until(&self) -> Nanos {
        let window = self.window();
        let began = |member: &Arc<Member>| member.state.warm_from.load(Relaxed);
        let starts = self.members.iter().map(began).filter(|&from| from != 0);
        starts.min().map_or(Nanos::MAX, |from| from.saturating_add(window))
    }

    fn window(&self) -> Nanos {
        self.options.balance.slow_start.map_or(0, |slow| slow.window.as_nanos() as Nanos)
    }
}

impl Core {
    fn state(&self, (id, address): &Key, boot: Option<Arc<str>>) -> Arc<State> {
        let place = hash_key(address.to_string().as_bytes());
        let key = mix(hash_key(id.as_str().as_bytes()) ^ place.rotate_left(32));
        let total = Arc::clone(&self.total);
        Arc::new(State::new(key, boot, self.origin, total, self.weak.clone()))
    }
}

impl State {
    /// Takes note that the endpoint is in the set that comes into use.
    fn arrive(
        &self,
        instance: &Instance,
        new: bool,
        first: bool,
        window: Option<Nanos>,
        now: Nanos,
    ) {
        let mut ledger = self.ledger();
        let restarted = match (&ledger.boot, &instance.boot) {
            (Some(before), Some(boot)) => before != boot,
            _ => false,
        };
        if instance.boot.is_some() {
            ledger.boot.clone_from(&instance.boot);
        }
        if restarted {
            ledger.multiplier = 0;
            ledger.ejection = None;
            self.ejected.store(false, Relaxed);
            self.in_a_row.store(0, Relaxed);
            self.judged_from.store(now, Relaxed);
            self.latency.forget();
            self.doubt.forget();
        }
        if instance.status == outrigger_core::Status::Critical {
            ledger.away_since.get_or_insert(now);
            return;
        }
        let away = ledger.away_since.take().map(|since| now.saturating_sub(since));
        let Some(window) = window else { return };
        if !first && (new || restarted || away.is_some_and(|away| away > window)) {
            self.warm_from.store(now.max(1), Relaxed);
        }
    }
}

/// `part / whole <= ratio`, with room for what a decimal fraction loses in binary.
pub(crate) fn is_within(part: usize, whole: usize, ratio: Ratio) -> bool {
    part as f64 <= ratio.get() * whole as f64 + 1e-9
}
