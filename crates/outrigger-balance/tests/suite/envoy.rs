//! The ejection, panic and weight scenarios that were measured on a real Envoy 1.40.

use std::num::NonZeroU32;

use outrigger_balance::{Algorithm, BalanceConfig, Completion, EjectConfig, ErrorClass};
use outrigger_core::{FailureKind, Ratio};
use serde_json::Value;

use crate::fleet::{Fleet, index_of, instance, ms, options, secs};

fn scenarios(prefix: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../data/envoy-1.40-observed.json"))
        .expect("the recorded scenarios are JSON");
    let all = all["scenarios"].as_array().expect("a list").clone();
    let found: Vec<_> = all.into_iter().filter(|s| id(s).starts_with(prefix)).collect();
    assert!(!found.is_empty(), "{prefix}");
    found
}

fn id(scenario: &Value) -> &str {
    scenario["id"].as_str().expect("an id")
}

fn number(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())
        .expect("a number")
        .parse()
        .expect("a number")
}

fn percent(value: &Value) -> Ratio {
    Ratio::from_percent(u8::try_from(value.as_u64().expect("a percentage")).expect("below 256"))
}

fn eject(errors: u32, max_ejected: Ratio) -> EjectConfig {
    let mut eject = EjectConfig::default();
    eject.consecutive_errors = NonZeroU32::new(errors).expect("not zero");
    eject.max_ejected = max_ejected;
    eject
}

fn balance(algorithm: Algorithm, panic_below: Ratio) -> BalanceConfig {
    let mut balance = BalanceConfig::default();
    balance.algorithm = algorithm;
    balance.panic_below = panic_below;
    balance
}

fn fleet(size: usize, eject: EjectConfig, panic_below: Ratio) -> Fleet {
    let balance = balance(Algorithm::RoundRobin, panic_below);
    Fleet::of(size, options().with_balance(balance).with_eject(Some(eject)))
}

#[test]
fn as_many_are_ejected_as_fit_below_the_maximum() {
    for scenario in scenarios("outlier-max-ejection") {
        let policy = &scenario["policy"];
        let hosts = number(scenario["load"].as_str().expect("a load"));
        let errors = policy["consecutive_5xx"].as_u64().expect("a count") as u32;
        let share = percent(&policy["max_ejection_percent"]);
        let mut fleet = fleet(hosts, eject(errors, share), percent(&policy["panic"]));
        for _ in 0..hosts * 30 {
            match fleet.try_pick() {
                Ok(pick) => drop(pick.complete(&Completion::status(fleet.now, 500))),
                Err(_) => break,
            }
        }
        let wanted = scenario["expect"]["ejected"].as_u64().expect("a count") as usize;
        assert_eq!(fleet.ejected(), wanted, "{}", id(&scenario));
    }
}

#[test]
fn what_counts_as_an_error_is_what_envoy_counts() {
    for scenario in scenarios("outlier-counts").into_iter().chain(scenarios("outlier-gateway")) {
        let policy = &scenario["policy"];
        let gateway = policy["consecutive_gateway_failure"].as_u64();
        let errors =
            gateway.or_else(|| policy["consecutive_5xx"].as_u64()).expect("a count") as u32;
        let mut config = eject(errors, Ratio::ONE);
        if gateway.is_some() {
            config.errors = ErrorClass::Gateway;
        }
        let mut fleet = fleet(2, config, Ratio::ZERO);
        for _ in 0..errors {
            let now = fleet.now;
            let completion = match scenario["load"].as_str().expect("a load") {
                "connect-refused" => Completion::failure(now, FailureKind::ConnectFailure),
                "route-timeout" => Completion::failure(now, FailureKind::Timeout),
                "reset" => Completion::failure(now, FailureKind::Reset),
                status => Completion::status(now, status.parse().expect("a status")),
            };
            drop(fleet.pick_of(0).complete(&completion));
        }
        let wanted = scenario["expect"]["ejected"].as_u64().expect("a count") as usize;
        assert_eq!(fleet.ejected(), wanted, "{}", id(&scenario));
    }
}

#[test]
fn each_ejection_in_a_row_lasts_longer_and_quiet_intervals_forgive() {
    let scenario = &scenarios("outlier-multiplier")[0];
    let mut config = eject(3, Ratio::HALF);
    config.interval = ms(500);
    config.base_time = secs(1);
    let mut fleet = fleet(2, config, Ratio::ZERO);
    // Somewhere between two sweeps, as the measurement was.
    fleet.pass(ms(200));
    let mut spans = Vec::new();
    let eject_once = |fleet: &mut Fleet| {
        fleet.answer(0, 500, 3);
        let from = fleet.now;
        while fleet.ejected() == 1 {
            fleet.pass(ms(10));
            fleet.set.tick(fleet.now);
        }
        (fleet.now - from).as_secs_f64()
    };
    for _ in 0..5 {
        spans.push(eject_once(&mut fleet));
    }
    let wanted: Vec<f64> = scenario["expect"]["ejected_for_s"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_f64().expect("a time"))
        .collect();
    for (n, (&ours, &theirs)) in spans.iter().zip(&wanted).enumerate() {
        let base = (n + 1) as f64;
        // Both: base × n, then up to one interval until the sweep.
        assert!((base..=base + 0.51).contains(&ours), "ejection {n}: {ours}");
        assert!((base..=base + 0.51).contains(&theirs), "ejection {n} of Envoy: {theirs}");
    }
    for _ in 0..6 {
        fleet.pass(ms(500));
        fleet.set.tick(fleet.now);
    }
    let again = eject_once(&mut fleet);
    assert!((1.0..=1.51).contains(&again), "after six quiet intervals: {again}");
}

#[test]
fn panic_uses_everybody_and_its_absence_only_the_rest() {
    for scenario in scenarios("outlier-panic") {
        let threshold = &scenario["policy"]["healthy_panic_threshold"];
        let threshold = threshold
            .as_u64()
            .unwrap_or_else(|| number(threshold.as_str().expect("a text")) as u64);
        let mut fleet = fleet(4, eject(3, Ratio::ONE), Ratio::from_percent(threshold as u8));
        for index in 0..3 {
            fleet.answer(index, 500, 3);
        }
        assert_eq!(fleet.ejected(), 3, "{}", id(&scenario));
        let wanted: Vec<usize> = scenario["expect"]["split"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|v| v.as_u64().expect("a count") as usize)
            .collect();
        assert_eq!(fleet.spread(4, 40), wanted, "{}", id(&scenario));
        assert_eq!(fleet.pick().is_panicking(), threshold == 50, "{}", id(&scenario));
    }
}

#[test]
fn without_panic_nothing_is_left_when_the_only_endpoint_is_ejected() {
    let scenario = &scenarios("outlier-all-ejected-panic-0")[0];
    assert_eq!(scenario["expect"]["status"], 503);
    let mut fleet = fleet(1, eject(3, Ratio::ONE), Ratio::ZERO);
    fleet.answer(0, 500, 3);
    assert!(fleet.try_pick().is_err(), "no endpoint, which is answered with 503");
}

#[test]
fn an_ejection_takes_effect_with_the_very_next_pick() {
    let scenario = &scenarios("outlier-merge-window")[0];
    // Envoy's second figure is the one without its merge window; ours never has one.
    let wanted = scenario["expect"]["bad_responses"][1].as_u64().expect("a count");
    let mut fleet = fleet(4, eject(3, Ratio::ONE), Ratio::ZERO);
    let mut bad = 0;
    for _ in 0..100 {
        fleet.pass(ms(30));
        let pick = fleet.pick();
        let is_bad = index_of(&pick) < 3;
        bad += u64::from(is_bad);
        let status = if is_bad { 500 } else { 200 };
        drop(pick.complete(&Completion::status(fleet.now, status)));
    }
    assert_eq!(bad, wanted);
}

#[test]
fn our_own_refusals_never_reach_the_record() {
    let scenario = &scenarios("breaker-overflow-is-not-outlier")[0];
    let mut fleet = fleet(2, eject(3, Ratio::ONE), Ratio::ZERO);
    for _ in 0..6 {
        // Refused after the pick: capacity drops the pick.
        drop(fleet.pick());
    }
    assert_eq!(fleet.ejected() as u64, scenario["expect"]["ejected"].as_u64().expect("a count"));
}

#[test]
fn weights_split_as_envoy_splits_them() {
    for (name, algorithm) in [
        ("lb-weights-rr", Algorithm::RoundRobin),
        ("lb-weights-least-request", Algorithm::LeastRequest),
    ] {
        let scenario = &scenarios(name)[0];
        let mut fleet = Fleet::empty(options().with_balance(balance(algorithm, Ratio::HALF)));
        let weights = scenario["policy"]["weights"].as_array().expect("a list").clone();
        let weighted = |(index, weight): (usize, &Value)| {
            let mut instance = instance(index);
            instance.weights.passing = weight.as_u64().expect("a weight") as u16;
            instance
        };
        fleet.put(weights.iter().enumerate().map(weighted).collect());
        let split = fleet.spread(3, 600);
        for (ours, theirs) in
            split.iter().zip(scenario["expect"]["split"].as_array().expect("a list"))
        {
            let theirs = theirs.as_u64().expect("a count") as f64;
            // Four standard deviations of a draw by lot, which is the recorded tolerance.
            let bound = 4.0 * (theirs * (1.0 - theirs / 600.0)).sqrt();
            assert!((*ours as f64 - theirs).abs() <= bound, "{name}: {split:?}");
        }
    }
}

#[test]
fn least_request_leaves_a_slow_endpoint_alone_as_envoy_does() {
    let scenario = &scenarios("lb-least-request-slow-host")[0];
    let mut fleet =
        Fleet::of(3, options().with_balance(balance(Algorithm::LeastRequest, Ratio::HALF)));
    // Eight clients, one after the other each; endpoint 0 takes 200 ms, the others 10 ms.
    let mut clients: Vec<_> = (0..8).map(|_| (fleet.now, None)).collect();
    let mut split = [0_u64; 3];
    for _ in 0..8 * 60 + 8 {
        clients.sort_by_key(|&(at, _)| at);
        let (at, pick) = clients.remove(0);
        fleet.now = fleet.now.max(at);
        if let Some(pick) = pick {
            let pick: outrigger_balance::Pick = pick;
            drop(pick.complete(&Completion::success(fleet.now)));
        }
        let pick = fleet.pick();
        let index = index_of(&pick);
        split[index] += 1;
        clients.push((fleet.now + ms(if index == 0 { 200 } else { 10 }), Some(pick)));
    }
    let slow = scenario["expect"]["split"][0].as_u64().expect("a count");
    // A client that goes to endpoint 0 is bound there; ours looks at a third when both it has
    // drawn are busy, so the share may be lower than Envoy's and never much higher.
    assert!(split[0] <= slow + slow / 4, "{split:?}, Envoy {slow} on the slow one");
    assert!(split[0] > 10, "it is still used: {split:?}");
}
