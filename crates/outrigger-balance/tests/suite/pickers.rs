//! What all pickers have in common, and what each promises.

use std::time::Duration;

use outrigger_balance::{
    Algorithm, BalanceConfig, Completion, EndpointStatus, PickRequest, SetOptions, SlowStart,
    hash_key,
};
use outrigger_core::{FailureKind, Outcome, Ratio};

use crate::fleet::{Fleet, address, index_of, instance, ms, options, secs};

fn with(algorithm: Algorithm) -> SetOptions {
    let mut balance = BalanceConfig::default();
    balance.algorithm = algorithm;
    options().with_balance(balance)
}

fn weighted(fleet: &mut Fleet, weights: &[u16]) {
    let weighted = |(index, &weight): (usize, &u16)| {
        let mut instance = instance(index);
        instance.weights.passing = weight;
        instance
    };
    fleet.put(weights.iter().enumerate().map(weighted).collect());
}

/// Four standard deviations of a draw by lot: a right picker fails this once in 16,000 runs of
/// another seed, and the seed is fixed.
fn assert_spread(spread: &[usize], weights: &[u16], what: &str) {
    let calls: usize = spread.iter().sum();
    let total: u16 = weights.iter().sum();
    for (&got, &weight) in spread.iter().zip(weights) {
        let share = f64::from(weight) / f64::from(total);
        let mean = calls as f64 * share;
        let bound = 4.0 * (mean * (1.0 - share)).sqrt() + 1.0;
        assert!((got as f64 - mean).abs() <= bound, "{what}: {spread:?} for {weights:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_policy() {
    let balance = BalanceConfig::default();
    assert_eq!(balance.algorithm, Algorithm::PeakEwma);
    let slow = balance.slow_start.expect("on");
    assert_eq!((slow.window, slow.aggression, slow.floor.get()), (secs(30), 1.0, 0.1));
    assert_eq!(balance.locality.expect("on").spill_below.get(), 0.7);
    assert!(balance.failover.is_empty());
    assert_eq!(balance.aperture, None);
    assert_eq!(balance.panic_below, Ratio::HALF);
}

#[test]
fn every_picker_is_even_over_equal_endpoints() {
    for algorithm in Algorithm::ALL {
        for size in [1, 2, 3, 10, 100] {
            let mut fleet = Fleet::of(size, with(algorithm));
            let spread = fleet.spread(size, size * 1_000);
            assert_spread(&spread, &vec![1; size], algorithm.as_str());
        }
    }
}

#[test]
fn every_picker_keeps_to_the_weights() {
    for algorithm in Algorithm::ALL {
        for weights in [&[1, 2][..], &[1, 1, 4], &[5, 1], &[1, 2, 3, 4, 5, 6, 7, 8], &[100, 1, 1]] {
            let mut fleet = Fleet::empty(with(algorithm));
            weighted(&mut fleet, weights);
            let spread = fleet.spread(weights.len(), 20_000);
            assert_spread(&spread, weights, algorithm.as_str());
        }
    }
}

#[test]
fn no_weight_means_nothing_while_another_is_usable() {
    for algorithm in Algorithm::ALL {
        let mut fleet = Fleet::empty(with(algorithm));
        weighted(&mut fleet, &[0, 3, 0]);
        assert_eq!(fleet.spread(3, 100), [0, 100, 0], "{}", algorithm.as_str());
        assert_eq!(fleet.view(0).status, EndpointStatus::Unweighted);
        weighted(&mut fleet, &[0, 0]);
        let spread = fleet.spread(2, 1_000);
        assert_spread(&spread, &[1, 1], algorithm.as_str());
        assert!(!fleet.pick().is_panicking(), "nothing is ignored");
    }
}

#[test]
fn every_picker_answers_alike_from_the_same_seed() {
    for algorithm in Algorithm::ALL {
        let run = || {
            let mut fleet = Fleet::of(7, with(algorithm).with_seed(42));
            (0..500)
                .map(|step| {
                    fleet.pass(Duration::from_micros(300 * (step % 7)));
                    fleet.call(if step % 31 == 0 { 500 } else { 200 })
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run(), "{}", algorithm.as_str());
    }
}

#[test]
fn an_empty_set_refuses_and_says_whose() {
    for algorithm in Algorithm::ALL {
        let mut fleet = Fleet::empty(with(algorithm));
        let refused = fleet.try_pick().expect_err("nothing to choose from");
        assert_eq!(refused.to_string(), "`stock` has no usable endpoint");
        fleet.put(vec![instance(0)]);
        assert_eq!(index_of(&fleet.pick()), 0);
        fleet.put(Vec::new());
        assert!(fleet.try_pick().is_err());
    }
}

#[test]
fn a_retry_goes_elsewhere_while_there_is_elsewhere() {
    for algorithm in Algorithm::ALL {
        for size in 2..=5 {
            let mut fleet = Fleet::of(size, with(algorithm));
            for round in 0..200 {
                let mut tried = Vec::new();
                for _ in 0..size {
                    let request = PickRequest::new(fleet.now)
                        .with_hash(Some(hash_key(&[round as u8])))
                        .with_avoid(&tried);
                    let pick = fleet.set.pick(&request, &mut fleet.rng).expect("an endpoint");
                    let endpoint = pick.endpoint().address();
                    assert!(!tried.contains(&endpoint), "{} of {size}", algorithm.as_str());
                    tried.push(endpoint);
                    let failed = Completion::failure(fleet.now, FailureKind::ConnectFailure);
                    if round == 0 {
                        drop(pick.complete(&failed));
                    }
                }
                let all = PickRequest::new(fleet.now).with_avoid(&tried);
                let pick = fleet.set.pick(&all, &mut fleet.rng);
                assert!(pick.is_ok(), "when all were tried, whatever comes");
            }
        }
    }
}

#[test]
fn round_robin_goes_round() {
    let mut fleet = Fleet::of(5, with(Algorithm::RoundRobin));
    let first: Vec<usize> = (0..5).map(|_| fleet.call(200)).collect();
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    let second: Vec<usize> = (0..5).map(|_| fleet.call(200)).collect();
    assert_eq!(first, second);
}

#[test]
fn weighted_round_robin_is_as_even_as_it_can_be() {
    let mut fleet = Fleet::empty(with(Algorithm::RoundRobin));
    weighted(&mut fleet, &[1, 1, 4]);
    let mut heavy = 0;
    for calls in 1..=6_000 {
        heavy += usize::from(fleet.call(200) == 2);
        let wanted = calls as f64 * 4.0 / 6.0;
        assert!((heavy as f64 - wanted).abs() < 4.0, "{heavy} of {calls}");
    }
}

#[test]
fn least_request_goes_to_the_shorter_queue() {
    let mut fleet = Fleet::of(2, with(Algorithm::LeastRequest));
    let _held: Vec<_> = (0..5).map(|_| fleet.pick_of(0)).collect();
    assert_eq!(fleet.spread(2, 50), [0, 50]);
}

#[test]
fn a_slow_endpoint_loses_its_share_and_gets_it_back() {
    let mut fleet = Fleet::of(5, with(Algorithm::PeakEwma));
    let mut share_of_0 = |slow: Duration| {
        let mut calls = 0;
        for _ in 0..2_000 {
            let pick = fleet.pick();
            let is_0 = index_of(&pick) == 0;
            fleet.pass(if is_0 { slow } else { ms(1) });
            calls += usize::from(is_0);
            drop(pick.complete(&Completion::success(fleet.now)));
            fleet.pass(ms(4));
        }
        calls
    };
    let before = share_of_0(ms(1));
    assert!((300..=500).contains(&before), "an equal among five: {before} of 2,000");
    let slow = share_of_0(ms(20));
    assert!(slow < 60, "twenty times slower: {slow} of 2,000");
    share_of_0(ms(1));
    let after = share_of_0(ms(1));
    assert!((300..=500).contains(&after), "as quick as the others again: {after} of 2,000");
}

#[test]
fn a_call_that_is_stuck_keeps_others_away_before_it_ends() {
    let mut fleet = Fleet::of(2, with(Algorithm::PeakEwma));
    for _ in 0..50 {
        let pick = fleet.pick();
        fleet.pass(ms(1));
        drop(pick.complete(&Completion::success(fleet.now)));
    }
    let stuck = fleet.pick_of(0);
    // As many in flight on the other, so that only their ages differ.
    fleet.pass(secs(2));
    let fresh = fleet.pick_of(1);
    assert_eq!(fleet.spread(2, 100), [0, 100]);
    drop((stuck, fresh));
    let spread = fleet.spread(2, 100);
    assert!(spread[0] > 20, "nothing was held against it: {spread:?}");
}

#[test]
fn an_endpoint_that_fails_at_once_does_not_look_quick() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest] {
        let mut fleet = Fleet::of(3, with(algorithm).with_eject(None));
        let mut failed = 0;
        for _ in 0..10_000 {
            let pick = fleet.pick();
            let is_0 = index_of(&pick) == 0;
            failed += usize::from(is_0);
            fleet.pass(if is_0 { Duration::ZERO } else { ms(1) });
            let status = if is_0 { 500 } else { 200 };
            drop(pick.complete(&Completion::status(fleet.now, status)));
        }
        // 10 s: the k-th error in a row is booked for 5 s × (1 - 0.9^k)³, which after 17 adds up
        // to more than 20 s.
        assert!(failed <= 17, "{}: {failed} of 10,000", algorithm.as_str());
    }
}

#[test]
fn one_error_in_thousands_does_not_starve_an_endpoint() {
    let mut fleet = Fleet::of(3, with(Algorithm::PeakEwma));
    let mut answered = [0; 3];
    for step in 0..3_000 {
        let pick = fleet.pick();
        let index = index_of(&pick);
        fleet.pass(ms(1));
        let status = if step == 300 { 500 } else { 200 };
        if step > 320 {
            answered[index] += 1;
        }
        drop(pick.complete(&Completion::status(fleet.now, status)));
    }
    assert!(answered.iter().all(|&n| n > 700), "20 ms later all are alike: {answered:?}");
}

#[test]
fn an_endpoint_that_asks_to_be_left_alone_is() {
    for status in [429, 503] {
        let mut fleet = Fleet::of(3, with(Algorithm::PeakEwma).with_eject(None));
        fleet.spread(3, 30);
        let pick = fleet.pick_of(0);
        let limited = Completion::status(fleet.now, status).with_retry_after(Some(secs(2)));
        drop(pick.complete(&limited));
        assert_eq!(fleet.spread(3, 300)[0], 0, "{status}");
        fleet.pass(ms(1_900));
        assert_eq!(fleet.spread(3, 300)[0], 0, "{status}");
        fleet.pass(ms(200));
        assert!(fleet.spread(3, 300)[0] > 50, "{status}: its time is over");
    }
}

#[test]
fn a_caller_that_left_after_long_tells_that_the_answer_takes_longer() {
    let mut fleet = Fleet::of(2, with(Algorithm::PeakEwma));
    for _ in 0..20 {
        let pick = fleet.pick();
        fleet.pass(ms(1));
        drop(pick.complete(&Completion::success(fleet.now)));
    }
    let before = fleet.view(0).latency.expect("known");
    let pick = fleet.pick_of(0);
    fleet.pass(secs(3));
    drop(pick.complete(&Completion::new(fleet.now, Outcome::Ignored)));
    let view = fleet.view(0);
    assert!(view.latency.expect("known") > before * 100, "{view:?}");
    assert_eq!((view.failures, view.errors_in_a_row), (0, 0), "and nothing else");
}

#[test]
fn a_newcomer_ramps_up_from_the_floor_and_only_the_newcomer() {
    for algorithm in
        [Algorithm::RoundRobin, Algorithm::Random, Algorithm::LeastRequest, Algorithm::PeakEwma]
    {
        let mut fleet = Fleet::of(9, with(algorithm));
        let spread = fleet.spread(9, 900);
        assert!(spread.iter().all(|&n| n > 50), "a first set does not ramp: {spread:?}");
        fleet.pass(secs(60));
        fleet.put((0..10).map(instance).collect());
        // At the start a tenth of a tenth, at half time half of a tenth, then a tenth.
        for (wait, low, high) in [(0, 40, 180), (15, 350, 700), (15, 850, 1_150)] {
            fleet.pass(secs(wait));
            let spread = fleet.spread(10, 10_000);
            assert!(
                (low..=high).contains(&spread[9]),
                "{} after {wait} s: {spread:?}",
                algorithm.as_str()
            );
        }
        assert_eq!(fleet.view(9).status, EndpointStatus::Passing);
    }
}

#[test]
fn the_ramp_has_the_shape_that_is_set() {
    let mut slow = SlowStart::default();
    slow.window = secs(100);
    slow.aggression = 2.0;
    slow.floor = Ratio::from_percent(20);
    let mut balance = BalanceConfig::default();
    balance.slow_start = Some(slow);
    let mut fleet = Fleet::of(1, options().with_balance(balance));
    fleet.put((0..2).map(instance).collect());
    let weight = |fleet: &Fleet| fleet.view(1).weight;
    assert!((weight(&fleet) - 0.2).abs() < 1e-6, "the floor");
    fleet.pass(secs(25));
    assert!((weight(&fleet) - 0.5).abs() < 1e-6, "(1/4)^(1/2)");
    fleet.pass(secs(56));
    assert!((weight(&fleet) - 0.9).abs() < 1e-6, "(81/100)^(1/2)");
    fleet.pass(secs(19));
    assert_eq!(weight(&fleet), 1.0);
}

#[test]
fn a_newcomer_is_taken_to_be_as_quick_as_the_others() {
    let mut balance = BalanceConfig::default();
    balance.slow_start = None;
    let mut fleet = Fleet::of(3, options().with_balance(balance));
    for _ in 0..100 {
        let pick = fleet.pick();
        fleet.pass(ms(10));
        drop(pick.complete(&Completion::success(fleet.now)));
    }
    fleet.put((0..4).map(instance).collect());
    let typical = fleet.view(3).latency.expect("borrowed");
    assert!((ms(5)..=ms(15)).contains(&typical), "{typical:?}");
    let mut newcomer = 0;
    for _ in 0..400 {
        let pick = fleet.pick();
        newcomer += usize::from(index_of(&pick) == 3);
        fleet.pass(ms(10));
        drop(pick.complete(&Completion::success(fleet.now)));
    }
    assert!((60..=140).contains(&newcomer), "neither flooded nor starved: {newcomer} of 400");
}

#[test]
fn a_pick_tells_what_was_decided() {
    let mut fleet = Fleet::of(3, with(Algorithm::PeakEwma));
    let pick = fleet.pick();
    assert_eq!((pick.candidates(), pick.is_panicking(), pick.load()), (3, false, 0.0));
    fleet.pass(ms(10));
    drop(pick.complete(&Completion::success(fleet.now)));
    fleet.spread(3, 100);
    let addresses: Vec<_> = (0..3).map(address).collect();
    let pick = fleet.pick();
    assert!(addresses.contains(&pick.endpoint().address()));
}
