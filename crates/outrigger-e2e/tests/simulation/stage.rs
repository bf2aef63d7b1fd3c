//! One run: everybody is put on the network, the plan is carried out, and each step is looked at.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use turmoil::Sim;

use crate::ledger::{Fate, Shared};
use crate::plan::{Fault, HEAL, Link, Plan, Planned, SETTLE, WELL};
use crate::{caller, endpoint, registry};

/// One step of the network's time.
const TICK: Duration = Duration::from_millis(50);
const LATENCY: Duration = Duration::from_millis(40);
const SLOW: Duration = Duration::from_millis(500);

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) log: Vec<String>,
    pub(crate) tally: Tally,
}

/// What some runs came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: usize,
    pub(crate) faults: usize,
    requests: usize,
    failed: usize,
    snapshots: usize,
    /// The longest time from the heal to all being well.
    slowest: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.faults += other.faults;
        self.requests += other.requests;
        self.failed += other.failed;
        self.snapshots += other.snapshots;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, faults, requests, failed, snapshots, slowest } = self;
        write!(
            f,
            "{seeds} seeds, {faults} faults, {snapshots} snapshots, {requests} requests of which \
             {failed} failed while their endpoints were hurt, all well again after {slowest:.1?} at most"
        )
    }
}

/// Plays what a seed stands for; panics with its log when a promise does not hold.
pub(crate) fn play(seed: u64, loud: bool) -> Story {
    play_plan(seed, &Plan::of(seed), loud)
}

/// Plays one plan.
pub(crate) fn play_plan(seed: u64, plan: &Plan, loud: bool) -> Story {
    // Whatever the product draws, it draws from here.
    fastrand::seed(seed);
    let ledger = Shared::new(plan);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sim = set_up(seed, plan, &ledger, folder.path());
    let mut active: Vec<Planned> = Vec::new();
    let mut waiting = plan.faults.clone();
    let mut well_since = None;
    while sim.elapsed() < HEAL + SETTLE + WELL {
        let now = sim.elapsed();
        let ended: Vec<Planned> =
            active.extract_if(.., |one| one.until.is_some_and(|until| until <= now)).collect();
        for one in ended {
            end(&mut sim, &ledger, &one.fault, &active);
        }
        for one in waiting.extract_if(.., |one| one.from <= now) {
            begin(&mut sim, &ledger, &one.fault);
            active.push(one);
        }
        let stepped = sim.step();
        let now = sim.elapsed();
        let mut book = ledger.lock();
        if let Err(error) = stepped {
            book.violations.push(format!("a host ended with {error}"));
        }
        book.look(now, |host| active.iter().any(|one| one.fault.disturbs(host)));
        if now >= HEAL {
            let unwell = book.unwell();
            match &unwell {
                None => _ = well_since.get_or_insert(now),
                Some(_) => well_since = None,
            }
            if now > HEAL + SETTLE {
                if let Some(why) = unwell {
                    book.violations
                        .push(format!("not well {:?} after the heal: {why}", now - HEAL));
                } else if book.failed_at > HEAL + SETTLE {
                    book.violations.push("a request failed when all was well".into());
                }
            }
        }
        if !book.violations.is_empty() {
            let log = book.log.join("\n");
            panic!("seed {seed}: {:?}\n{plan:#?}\n{log}", book.violations);
        }
    }
    let book = ledger.lock();
    if loud {
        println!("{plan:#?}\n{}", book.log.join("\n"));
    }
    assert!(book.requests > 100, "seed {seed}: hardly anybody called, {}", book.requests);
    let tally = Tally {
        seeds: 1,
        faults: plan.faults.len(),
        requests: book.requests,
        failed: book.failed,
        snapshots: book.snapshots,
        slowest: well_since.unwrap_or_default().saturating_sub(HEAL),
    };
    Story { log: book.log.clone(), tally }
}

fn set_up<'a>(seed: u64, plan: &Plan, ledger: &Shared, folder: &std::path::Path) -> Sim<'a> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(LATENCY)
        .tcp_capacity(4_096)
        .build();
    let state_file = plan.remembers.then(|| folder.join("state.json"));
    let shared = ledger.clone();
    sim.host("registry", move || registry::run(shared.clone(), seed, state_file.clone()));
    for index in 0..plan.endpoints {
        let shared = ledger.clone();
        sim.host(format!("e{index}"), move || endpoint::run(shared.clone(), index));
    }
    for index in 0..plan.callers {
        let shared = ledger.clone();
        sim.host(format!("c{index}"), move || caller::run(shared.clone(), index));
    }
    sim
}

fn begin(sim: &mut Sim<'_>, ledger: &Shared, fault: &Fault) {
    let now = sim.elapsed();
    ledger.lock().note(now, format_args!("begins {fault:?}"));
    match fault {
        Fault::KillRegistry => {
            let agent = ledger.lock().forget_agent();
            sim.crash("registry");
            drop(agent);
        }
        Fault::PauseRegistry => {
            if let Some(agent) = ledger.lock().agent() {
                agent.pause();
            }
        }
        Fault::Kill(index) => {
            sim.crash(format!("e{index}"));
            ledger.lock().killed(*index, now);
        }
        Fault::Leave(index) => ledger.lock().tell_to_leave(*index),
        link => hurt(sim, link),
    }
}

fn hurt(sim: &mut Sim<'_>, fault: &Fault) {
    match fault {
        Fault::Cut(Link(a, b)) => sim.partition(a.as_str(), b.as_str()),
        Fault::CutOneWay(Link(a, b)) => sim.partition_oneway(a.as_str(), b.as_str()),
        Fault::Stall(Link(a, b)) => sim.hold(a.as_str(), b.as_str()),
        Fault::Slow(Link(a, b)) => sim.set_link_max_message_latency(a.as_str(), b.as_str(), SLOW),
        _ => {}
    }
}

fn end(sim: &mut Sim<'_>, ledger: &Shared, fault: &Fault, still: &[Planned]) {
    let now = sim.elapsed();
    ledger.lock().note(now, format_args!("ends {fault:?}"));
    let goes_on = still.iter().any(|one| one.fault == *fault);
    match fault {
        Fault::KillRegistry if !goes_on => {
            // Whoever holds the old one looks at what is gone.
            let old: Option<Arc<_>> = ledger.lock().forget_agent();
            sim.bounce("registry");
            drop(old);
        }
        Fault::PauseRegistry if !goes_on => {
            if let Some(agent) = ledger.lock().agent() {
                agent.resume();
            }
        }
        Fault::Kill(index) | Fault::Leave(index) => {
            // One that is still on its way out is killed now: nobody was told.
            if ledger.lock().fates[*index] == Fate::Up {
                sim.crash(format!("e{index}"));
            }
            ledger.lock().started(*index);
            sim.bounce(format!("e{index}"));
        }
        _ => {
            let Some(Link(a, b)) = fault.link() else { return };
            sim.repair(a.as_str(), b.as_str());
            sim.release(a.as_str(), b.as_str());
            sim.set_link_max_message_latency(a.as_str(), b.as_str(), LATENCY);
            let link = |one: &Link| [&one.0, &one.1] == [a, b] || [&one.0, &one.1] == [b, a];
            // Another fault of the same link goes on.
            for one in still.iter().filter(|one| one.fault.link().is_some_and(link)) {
                hurt(sim, &one.fault);
            }
        }
    }
}
