//! What everybody saw and did, and whether that was right.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger::core::{BoxError, Endpoint, Event, Failed, Observe, Observers, Rejected, Snapshot};
use outrigger_dev::Agent;
use tokio::sync::watch;

use crate::endpoint::TTL;
use crate::network::{CONFIRM_AFTER, HOLD};
use crate::plan::Plan;

/// A watch hears of a change at most so long after its question was answered or given up: the
/// longest pause between two questions (8 s), a turn of its backoff, the way.
const HEARS: Duration = Duration::from_secs(15);

/// What became of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Up,
    /// The registry was told.
    Left(Duration),
    /// Nobody was told: the registry notices when the time to live is over.
    Killed(Duration),
}

#[derive(Debug, Default)]
struct Caller {
    /// Instance and its status, as of the newest snapshot.
    set: Option<BTreeMap<String, String>>,
    /// Since when nothing stood between it and the registry.
    calm_since: Duration,
    unanswered: usize,
}

/// Everything that is known of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) log: Vec<String>,
    pub(crate) violations: Vec<String>,
    pub(crate) fates: Vec<Fate>,
    agent: Option<Arc<Agent>>,
    /// What the registry listed after the last step, and its index then.
    truth: Option<(u64, BTreeMap<String, String>)>,
    callers: Vec<Caller>,
    leaves: Vec<watch::Sender<bool>>,
    /// When the registry, running, first did not list an endpoint, since it last did for long.
    unlisted: Vec<Option<Duration>>,
    listed: Vec<Option<Duration>>,
    /// How long a watch waits for a change.
    wait: Duration,
    /// Whether no request may fail.
    strict: bool,
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    pub(crate) snapshots: usize,
    /// When the last request failed.
    pub(crate) failed_at: Duration,
}

/// The ledger as everybody holds it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Ledger>>);

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Shared {
    pub(crate) fn new(plan: &Plan) -> Self {
        let Plan { endpoints, callers, .. } = *plan;
        Self(Arc::new(Mutex::new(Ledger {
            log: Vec::new(),
            violations: Vec::new(),
            fates: vec![Fate::Up; endpoints],
            agent: None,
            truth: None,
            callers: (0..callers).map(|_| Caller::default()).collect(),
            leaves: (0..endpoints).map(|_| watch::Sender::new(false)).collect(),
            unlisted: vec![None; endpoints],
            listed: vec![None; endpoints],
            wait: plan.wait,
            strict: plan.registry_only,
            requests: 0,
            failed: 0,
            snapshots: 0,
            failed_at: Duration::ZERO,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        self.lock().note(now(), what);
    }

    pub(crate) fn agent_started(&self, agent: Arc<Agent>) {
        let mut ledger = self.lock();
        (ledger.agent, ledger.truth) = (Some(agent), None);
        ledger.note(now(), format_args!("registry runs"));
    }

    pub(crate) fn leaves(&self, index: usize) -> watch::Receiver<bool> {
        self.lock().leaves[index].subscribe()
    }

    /// An endpoint has ended in order; whether the registry took note of it.
    pub(crate) fn left(&self, index: usize, confirmed: bool) {
        let mut ledger = self.lock();
        ledger.fates[index] = if confirmed { Fate::Left(now()) } else { Fate::Killed(now()) };
        ledger.note(now(), format_args!("e{index} is gone, confirmed: {confirmed}"));
    }

    pub(crate) fn wait(&self) -> Duration {
        self.lock().wait
    }

    pub(crate) fn has_seen(&self, caller: usize) -> bool {
        self.lock().callers[caller].set.as_ref().is_some_and(|set| !set.is_empty())
    }

    /// A caller got a snapshot: does anybody miss in it who should be there?
    pub(crate) fn saw(&self, caller: usize, snapshot: &Snapshot) {
        let (mut ledger, now) = (self.lock(), now());
        ledger.snapshots += 1;
        let set: BTreeMap<_, _> = snapshot
            .instances
            .iter()
            .map(|one| (one.id.to_string(), format!("{:?}", one.status).to_lowercase()))
            .collect();
        ledger.note(now, format_args!("c{caller} sees {set:?} {}", snapshot.freshness.as_str()));
        let before = ledger.callers[caller].set.replace(set.clone()).unwrap_or_default();
        for index in 0..ledger.fates.len() {
            let name = format!("e{index}");
            if !before.contains_key(&name) || set.contains_key(&name) {
                continue;
            }
            // It vanished. One that serves, and never left, is vouched for by nobody's word for a
            // while: the registry must have been without it for as long as the guard holds.
            let least = if set.is_empty() { CONFIRM_AFTER.min(HOLD) } else { HOLD };
            let unlisted = ledger.unlisted[index].map(|since| now.saturating_sub(since));
            let is_long = unlisted.is_some_and(|span| span + Duration::from_millis(100) >= least);
            if ledger.fates[index] == Fate::Up && !is_long && !*ledger.leaves[index].borrow() {
                ledger.violate(
                    now,
                    format!("c{caller} gave up {name}, which serves; unlisted for {unlisted:?}"),
                );
            }
        }
    }

    /// A try goes out: to somebody who may still be used?
    pub(crate) fn sent(&self, caller: usize, endpoint: &Endpoint, panicking: bool) {
        let (mut ledger, now) = (self.lock(), now());
        let name = endpoint.instance().id.to_string();
        ledger.note(now, format_args!("c{caller} -> {name} panicking: {panicking}"));
        let index: usize = name[1..].parse().expect("endpoints are numbered");
        // What a cut swallowed is not sent again here, as if a machine between had forgotten the
        // connection: the watch gives its question up a sixteenth and 5 s after its wait.
        let hears = ledger.wait * 17 / 16 + Duration::from_secs(5) + HEARS;
        let (gone, bound) = match ledger.fates[index] {
            Fate::Up => return,
            Fate::Left(at) => (at, HOLD + hears),
            // Below the panic threshold everybody is tried, and may be.
            Fate::Killed(_) if panicking => return,
            Fate::Killed(at) => (at, TTL + HOLD + hears),
        };
        let since = gone.max(ledger.callers[caller].calm_since);
        if now > since + bound {
            let fate = ledger.fates[index];
            ledger.violate(
                now,
                format!("c{caller} uses {name} though {fate:?}, calm since {since:?}"),
            );
        }
    }

    pub(crate) fn finished(&self, caller: usize, began: Duration, result: Result<u16, BoxError>) {
        let (mut ledger, now) = (self.lock(), now());
        ledger.requests += 1;
        let how = match result {
            Ok(200) => return,
            Ok(status) => status.to_string(),
            Err(error) => match (Failed::find(&*error), Rejected::find(&*error)) {
                (Some(failed), _) => failed.to_string(),
                (_, Some(rejected)) => rejected.to_string(),
                _ => error.to_string(),
            },
        };
        ledger.failed += 1;
        ledger.failed_at = ledger.failed_at.max(now);
        ledger.callers[caller].unanswered += 1;
        ledger.note(now, format_args!("c{caller} failed, began {began:?}: {how}"));
        if ledger.strict {
            ledger.violate(
                now,
                format!("c{caller}: a request failed though only the registry was hurt: {how}"),
            );
        }
    }
}

impl Ledger {
    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        self.log.push(format!("{:8.3} {what}", now.as_secs_f64()));
    }

    fn violate(&mut self, now: Duration, what: String) {
        self.note(now, format_args!("VIOLATION {what}"));
        self.violations.push(what);
    }

    pub(crate) fn agent(&self) -> Option<&Arc<Agent>> {
        self.agent.as_ref()
    }

    /// The registry was killed.
    pub(crate) fn forget_agent(&mut self) -> Option<Arc<Agent>> {
        self.agent.take()
    }

    pub(crate) fn tell_to_leave(&self, index: usize) {
        self.leaves[index].send_replace(true);
    }

    pub(crate) fn killed(&mut self, index: usize, now: Duration) {
        if matches!(self.fates[index], Fate::Up) {
            self.fates[index] = Fate::Killed(now);
        }
    }

    pub(crate) fn started(&mut self, index: usize) {
        self.leaves[index].send_replace(false);
        self.fates[index] = Fate::Up;
    }

    /// Reads what the registry lists; `None` while it does not run.
    fn read(&mut self) {
        let Some(state) = self.agent.as_ref().and_then(|agent| agent.state()) else {
            self.truth = None;
            return;
        };
        state.with(|state| {
            let index = state.index();
            if self.truth.as_ref().is_none_or(|(read, _)| *read != index) {
                let listed = state.instances("stock").into_iter();
                let listed = listed.map(|(service, status)| (service.id, status.word().to_owned()));
                self.truth = Some((index, listed.collect()));
            }
        });
    }

    /// What the registry lists; `None` while it does not run.
    fn truth(&self) -> Option<&BTreeMap<String, String>> {
        self.truth.as_ref().map(|(_, listed)| listed)
    }

    /// Looks at the registry after a step, and at who is cut off from it.
    pub(crate) fn look(&mut self, now: Duration, is_disturbed: impl Fn(&str) -> bool) {
        const LONG: Duration = Duration::from_secs(45);
        self.read();
        let truth = self.truth.as_ref().map(|(_, listed)| listed);
        for (index, caller) in self.callers.iter_mut().enumerate() {
            if truth.is_none() || is_disturbed(&format!("c{index}")) {
                caller.calm_since = now;
            }
        }
        let Some(truth) = truth else { return };
        for index in 0..self.fates.len() {
            if truth.contains_key(&format!("e{index}")) {
                let since = *self.listed[index].get_or_insert(now);
                if now - since > LONG {
                    self.unlisted[index] = None;
                }
            } else {
                self.listed[index] = None;
                self.unlisted[index].get_or_insert(now);
            }
        }
    }

    /// Why not all is well: the registry lists exactly who is up, and every caller knows the same.
    pub(crate) fn unwell(&self) -> Option<String> {
        let Some(truth) = self.truth() else { return Some("no registry".into()) };
        let is_passing = |status: &String| status == "passing";
        let passing: Vec<&String> =
            truth.iter().filter(|(_, status)| is_passing(status)).map(|(name, _)| name).collect();
        let up: Vec<String> = (0..self.fates.len())
            .filter(|&index| self.fates[index] == Fate::Up)
            .map(|index| format!("e{index}"))
            .collect();
        if !passing.iter().copied().eq(up.iter()) {
            return Some(format!("up are {up:?}, the registry lists {truth:?}"));
        }
        self.callers.iter().enumerate().find_map(|(index, caller)| {
            let same = caller.set.as_ref() == Some(truth);
            (!same).then(|| format!("c{index} sees {:?}, the registry lists {truth:?}", caller.set))
        })
    }
}

/// Writes what the product tells into the log.
#[derive(Debug)]
pub(crate) struct Listener {
    ledger: Shared,
    name: String,
}

impl Listener {
    pub(crate) fn observers(ledger: &Shared, name: &str) -> Observers {
        let listener = Self { ledger: ledger.clone(), name: name.to_owned() };
        Observers::none().with(Arc::new(listener))
    }
}

impl Observe for Listener {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Finished { .. } | Event::Tried { .. } => {}
            other => self.ledger.note(format_args!("{} {other:?}", self.name)),
        }
    }
}
