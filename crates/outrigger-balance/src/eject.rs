//! Outlier ejection: who is taken out, for how long, and who is told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use outrigger_core::{EjectionCause, Endpoint, Event, Freshness, Observers, Ratio, ServiceName};
use smallvec::SmallVec;

use crate::config::EjectConfig;
use crate::estimate::Nanos;
use crate::pick::Completion;
use crate::roster::Roster;
use crate::state::{Ejection, Member, State};

/// Counts a failed try; whether it was one error in a row too many.
pub(crate) fn is_one_too_many(eject: &EjectConfig, state: &State, completion: &Completion) -> bool {
    if !completion.is_error(eject.errors) {
        // A failure of a kind that does not count here is still an answer that is no such error.
        state.in_a_row.store(0, Relaxed);
        return false;
    }
    state.errors.fetch_add(1, Relaxed);
    let in_a_row = state.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
    if in_a_row < eject.consecutive_errors.get() {
        return false;
    }
    // Whether or not there is room, it takes as many errors again for the next attempt.
    state.in_a_row.store(0, Relaxed);
    true
}

/// Ejects an endpoint of the set if there is room.
pub(crate) fn take_out(
    members: &[Arc<Member>],
    eject: &EjectConfig,
    member: &Arc<Member>,
    cause: EjectionCause,
    now: Nanos,
    news: &mut News,
) -> bool {
    let state = &member.state;
    // The try may have been picked from a set before this one.
    let Some(present) = members.iter().find(|m| Arc::ptr_eq(&m.state, state)) else {
        return false;
    };
    if state.ejected.load(Relaxed) {
        return false;
    }
    let ejected = members.iter().filter(|m| m.state.ejected.load(Relaxed)).count();
    if !is_within(ejected + 1, members.len(), eject.max_ejected) {
        return false;
    }
    let mut ledger = state.ledger();
    let base = eject.base_time;
    // As far as the longest ejection and one step beyond, so that it takes quiet intervals to get
    // below it again.
    if base.saturating_mul(ledger.multiplier) < eject.max_time.saturating_add(base) {
        ledger.multiplier += 1;
    }
    let span = base.saturating_mul(ledger.multiplier).min(eject.max_time);
    let until = now.saturating_add(span.as_nanos() as Nanos);
    ledger.ejection = Some(Ejection { until, cause });
    state.ejected.store(true, Relaxed);
    news.push(Item::Ejected { endpoint: present.endpoint.clone(), cause, span });
    true
}

/// The sweeps that have come due: endpoints whose time is over return, the others' multipliers
/// fall, and too small a share of successes ejects.
pub(crate) fn sweep(roster: &mut Roster, now: Nanos, news: &mut News) {
    let Some(eject) = roster.options.eject.clone() else { return };
    let interval = (eject.interval.as_nanos() as Nanos).max(1);
    // After a long silence the last sweeps are enough: by then all are back and all multipliers
    // are down.
    let missed = now.saturating_sub(roster.next_sweep) / interval;
    if missed > MISSED {
        roster.next_sweep += (missed - MISSED) * interval;
    }
    while roster.next_sweep <= now {
        let at = roster.next_sweep;
        roster.next_sweep += interval;
        for member in &roster.members {
            let_return(member, at, now, news);
        }
        judge_ratios(&roster.members, &eject, at, news);
    }
}

/// Most sweeps that are made up for.
const MISSED: u64 = 64;

fn let_return(member: &Member, at: Nanos, now: Nanos, news: &mut News) {
    let state = &member.state;
    let mut ledger = state.ledger();
    match ledger.ejection {
        None => ledger.multiplier = ledger.multiplier.saturating_sub(1),
        Some(ejection) if ejection.until <= at => {
            ledger.ejection = None;
            put_back(member, now, news);
        }
        Some(_) => {}
    }
}

fn put_back(member: &Member, now: Nanos, news: &mut News) {
    let state = &member.state;
    state.in_a_row.store(0, Relaxed);
    // What was begun before tells of the time before.
    state.judged_from.store(now, Relaxed);
    state.ejected.store(false, Relaxed);
    news.push(Item::Returned { endpoint: member.endpoint.clone() });
}

/// Lets everybody return, when ejection is switched off.
pub(crate) fn return_all(members: &[Arc<Member>], now: Nanos, news: &mut News) {
    for member in members {
        let ejection = member.state.ledger().ejection.take();
        if ejection.is_some() {
            put_back(member, now, news);
        }
    }
}

fn judge_ratios(members: &[Arc<Member>], eject: &EjectConfig, at: Nanos, news: &mut News) {
    for member in members {
        let state = &member.state;
        let (requests, errors) = (state.answers.judged(), state.errors.load(Relaxed));
        let (answered, failed) = {
            let mut ledger = state.ledger();
            let since = (
                requests.saturating_sub(ledger.swept_requests),
                errors.saturating_sub(ledger.swept_errors),
            );
            (ledger.swept_requests, ledger.swept_errors) = (requests, errors);
            since
        };
        let Some(least) = eject.success_ratio_below else { continue };
        if answered < u64::from(eject.min_requests.get()) {
            continue;
        }
        let succeeded = answered.saturating_sub(failed);
        if !least.is_reached_by(succeeded, answered) {
            take_out(members, eject, member, EjectionCause::SuccessRatio, at, news);
        }
    }
}

/// What is to be told once the lock is released: an observer may ask the set.
#[derive(Default)]
pub(crate) struct News(SmallVec<[Item; 2]>);

enum Item {
    Ejected { endpoint: Endpoint, cause: EjectionCause, span: Duration },
    Returned { endpoint: Endpoint },
    Panicking { begins: bool },
    SetChanged { version: u64, instances: usize, usable: usize, freshness: Freshness },
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, item: Item) {
        self.0.push(item);
    }

    pub(crate) fn panicking(&mut self, begins: bool) {
        self.push(Item::Panicking { begins });
    }

    pub(crate) fn set_changed(
        &mut self,
        version: u64,
        instances: usize,
        usable: usize,
        freshness: Freshness,
    ) {
        self.push(Item::SetChanged { version, instances, usable, freshness });
    }

    pub(crate) fn tell(self, service: &ServiceName, observers: &Observers) {
        if observers.is_empty() {
            return;
        }
        for item in &self.0 {
            observers.emit(&match *item {
                Item::Ejected { ref endpoint, cause, span } => {
                    Event::Ejected { service, endpoint, cause, span }
                }
                Item::Returned { ref endpoint } => Event::Returned { service, endpoint },
                Item::Panicking { begins } => Event::Panicking { service, begins },
                Item::SetChanged { version, instances, usable, freshness } => {
                    Event::SetChanged { service, version, instances, usable, freshness }
                }
            });
        }
    }
}

/// `part / whole <= ratio`, with room for what a decimal fraction loses in binary.
fn is_within(part: usize, whole: usize, ratio: Ratio) -> bool {
    part as f64 <= ratio.get() * whole as f64 + 1e-9
}
