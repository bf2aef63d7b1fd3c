//! The quality figures of `examples/quality`, scaled down to what a test may take.

#[path = "../../examples/quality/sim.rs"]
mod sim;

use std::collections::HashMap;
use std::time::Duration;

use outrigger_balance::{Algorithm, BalanceConfig, Completion, EjectConfig, Pick, PickRequest};

use crate::fleet::{Fleet, address, index_of, options};
use sim::{Balancer, Load, Outcome, Parallel, SingleWorker, Time, Trouble, World};

struct Ours {
    fleet: Fleet,
    picks: HashMap<u64, Pick>,
    origin: std::time::Instant,
}

impl Ours {
    fn new(algorithm: Algorithm, eject: Option<EjectConfig>, size: usize) -> Self {
        let mut balance = BalanceConfig::default();
        balance.algorithm = algorithm;
        let fleet = Fleet::of(size, options().with_balance(balance).with_eject(eject));
        let origin = fleet.now;
        Self { fleet, picks: HashMap::new(), origin }
    }
}

impl Balancer for Ours {
    fn advance(&mut self, now: Time) {
        self.fleet.now = self.origin + now;
    }

    fn pick(&mut self, id: u64, avoid: &[usize], _now: Time) -> usize {
        let tried: Vec<_> = avoid.iter().map(|&index| address(index)).collect();
        let request = PickRequest::new(self.fleet.now).with_avoid(&tried);
        let pick = self.fleet.set.pick(&request, &mut self.fleet.rng).expect("an endpoint");
        let index = index_of(&pick);
        self.picks.insert(id, pick);
        index
    }

    fn done(&mut self, id: u64, _endpoint: usize, ok: bool, _now: Time) {
        let pick = self.picks.remove(&id).expect("picked before");
        let status = if ok { 200 } else { 500 };
        drop(pick.complete(&Completion::status(self.fleet.now, status)));
    }
}

/// A fifth of the requests of Q1 and Q2, with the same times.
fn troubled(ours: &mut Ours, trouble: Trouble, retries: u8) -> Outcome {
    let mut world = Parallel {
        mean: Duration::from_millis(167),
        jitter: Duration::from_millis(5),
        trouble,
        from: Duration::from_secs(15),
        until: Duration::from_secs(45),
    };
    let load = Load { seconds: 60, per_second: 200.0, retries, seed: 3 };
    sim::run(ours, &mut world as &mut dyn World, load, 11)
}

#[test]
fn one_slow_endpoint_of_eleven_is_hardly_felt() {
    let mut ours = Ours::new(Algorithm::PeakEwma, Some(EjectConfig::default()), 11);
    let outcome = troubled(&mut ours, Trouble::Slow(Duration::from_secs(2)), 0);
    let within = outcome.within(Duration::from_secs(1));
    // Some tries must find out, whatever the rate, so a fifth of the load has up to five times
    // the share of late answers.
    assert!(within >= 0.998, "{within}");
}

#[test]
fn one_endpoint_that_fails_at_once_is_hardly_felt_and_with_retries_not_at_all() {
    let mut ours = Ours::new(Algorithm::PeakEwma, Some(EjectConfig::default()), 11);
    let succeeded = troubled(&mut ours, Trouble::FailAtOnce, 0).succeeded();
    assert!(succeeded >= 0.998, "{succeeded}");
    let mut ours = Ours::new(Algorithm::PeakEwma, Some(EjectConfig::default()), 11);
    let outcome = troubled(&mut ours, Trouble::FailAtOnce, 1);
    assert_eq!(outcome.failed, 0, "a retry goes elsewhere");
}

#[test]
fn without_ejection_a_failing_endpoint_is_still_left_alone() {
    let mut ours = Ours::new(Algorithm::PeakEwma, None, 11);
    let succeeded = troubled(&mut ours, Trouble::FailAtOnce, 0).succeeded();
    assert!(succeeded >= 0.997, "{succeeded}");
}

#[test]
fn a_slow_worker_gets_less_and_the_tail_stays_short() {
    let tail = |algorithm| {
        let mut ours = Ours::new(algorithm, None, 10);
        let mut world = SingleWorker {
            mean: Duration::from_millis(10),
            slow_factor: 3.0,
            exponential: true,
            errors: 0.0,
            free_at: vec![Duration::ZERO; 10],
        };
        let load = Load { seconds: 20, per_second: 700.0, retries: 0, seed: 5 };
        let outcome = sim::run(&mut ours, &mut world, load, 10);
        (outcome.quantile(0.99), outcome.tries[0] as f64 / outcome.requests as f64)
    };
    let (ours, share) = tail(Algorithm::PeakEwma);
    let (least, _) = tail(Algorithm::LeastRequest);
    assert!(ours < least, "p99 {ours} s, least request {least} s");
    assert!(share < 0.05, "a worker of a third of the speed gets {share} of the requests");
}

/// Three endpoints that answer in a millisecond, except that some tries of the first one take
/// longer: which share of the requests the first one got in each second.
fn shares(per_second: u64, seconds: usize, late: impl Fn(usize, Time) -> Option<Time>) -> Vec<f64> {
    let mut fleet = Fleet::of(3, options().with_eject(None));
    let origin = fleet.now;
    let mut open: Vec<(Time, Pick)> = Vec::new();
    let mut tries = vec![0; seconds];
    let gap = Duration::from_secs(1) / per_second as u32;
    for number in 0..per_second * seconds as u64 {
        let now = gap * number as u32;
        open.sort_by_key(|(end, _)| *end);
        let ended = open.partition_point(|(end, _)| *end <= now);
        for (end, pick) in open.drain(..ended) {
            drop(pick.complete(&Completion::status(origin + end, 200)));
        }
        fleet.now = origin + now;
        let pick = fleet.pick();
        let mut takes = Duration::from_millis(1);
        if index_of(&pick) == 0 {
            let before: usize = tries.iter().sum();
            tries[now.as_secs() as usize] += 1;
            takes = late(before, now).unwrap_or(takes);
        }
        open.push((now + takes, pick));
    }
    tries.iter().map(|&tries| f64::from(tries as u32) / per_second as f64).collect()
}

#[test]
fn one_late_answer_is_forgotten_within_seconds_and_a_slow_endpoint_is_not() {
    for per_second in [6, 60, 600] {
        for late in [Duration::from_millis(300), Duration::from_secs(1)] {
            // The very first answer: connect, first touch, a machine that has just linked.
            let first = shares(per_second, 30, |tries, _| (tries == 0).then_some(late));
            let back = first.iter().position(|&share| share > 0.2).expect("it comes back");
            assert!(back <= 5, "{per_second}/s, {late:?}: back after {back} s, {first:?}");
        }
    }
    // What is slow each time is asked less and less.
    let slow = shares(200, 60, |_, _| Some(Duration::from_millis(500)));
    let asked: f64 = slow.iter().map(|share| share * 200.0).sum();
    assert!(asked <= 24.0, "{asked} of 12,000: {slow:?}");
    assert!(slow[30..].iter().sum::<f64>() * 200.0 <= 4.0, "{slow:?}");
}
