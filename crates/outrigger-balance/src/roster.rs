//! Who is in the set, who was, and what is remembered of either.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use outrigger_core::{Endpoint, Freshness, Instance, InstanceId, Status};

use crate::candidates::is_usable;
use crate::estimate::Nanos;
use crate::options::{Change, SetOptions};
use crate::set::Core;
use crate::state::{Member, State};

/// What changes under the lock.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) options: SetOptions,
    pub(crate) members: Vec<Arc<Member>>,
    states: HashMap<Key, Arc<State>>,
    pub(crate) version: u64,
    pub(crate) freshness: Freshness,
    pub(crate) panicking: bool,
    pub(crate) next_sweep: Nanos,
    /// When candidates that lag behind are to be made anew.
    pub(crate) rebuild_at: Nanos,
    pub(crate) rebuilt: Nanos,
    pub(crate) turn: u64,
}

pub(crate) type Key = (InstanceId, SocketAddr);

/// How long an endpoint that left is remembered.
const REMEMBERED: Nanos = 600 * 1_000_000_000;
/// How many that left are remembered beyond twice the set.
const REMEMBERED_MORE: usize = 64;

impl Roster {
    pub(crate) fn new(options: SetOptions) -> Self {
        let interval = options.eject.as_ref().map(|eject| eject.interval);
        Self {
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
        }
    }

    /// Puts these endpoints in place of those before.
    pub(crate) fn replace(&mut self, core: &Core, endpoints: Vec<Endpoint>, now: Nanos) -> Change {
        let typical = self.typical(now);
        let window = self.options.balance.slow_start.map(|slow| slow.window.as_nanos() as Nanos);
        // All of a first set are old hands: it is we who are new.
        let first = !self.members.iter().any(|member| is_usable(member));
        let mut before: HashMap<*const State, Arc<Member>> =
            self.members.drain(..).map(|m| (Arc::as_ptr(&m.state), m)).collect();
        let mut change = Change::default();
        let mut seen = HashSet::with_capacity(endpoints.len());
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
    fn forget(&mut self, present: &HashSet<*const State>, now: Nanos) {
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
        gone.sort_unstable();
        for (_, key) in gone.into_iter().take(self.states.len() - most) {
            self.states.remove(&key);
        }
    }

    /// Ends those slow starts whose time is over.
    pub(crate) fn end_slow_starts(&self, now: Nanos) {
        let window = self.window();
        for member in &self.members {
            let from = member.state.warm_from.load(Relaxed);
            if from != 0 && now.saturating_sub(from) >= window {
                member.state.warm_from.store(0, Relaxed);
            }
        }
    }

    /// When the first slow start ends.
    pub(crate) fn warm_until(&self) -> Nanos {
        let window = self.window();
        let began = |member: &Arc<Member>| member.state.warm_from.load(Relaxed);
        let starts = self.members.iter().map(began).filter(|&from| from != 0);
        starts.min().map_or(Nanos::MAX, |from| from.saturating_add(window))
    }

    fn window(&self) -> Nanos {
        self.options.balance.slow_start.map_or(0, |slow| slow.window.as_nanos() as Nanos)
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
        if instance.status == Status::Critical {
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
