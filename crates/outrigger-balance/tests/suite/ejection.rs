//! Ejection and panic at one, two, three and many endpoints.

use std::num::NonZeroU32;

use outrigger_balance::{
    Algorithm, BalanceConfig, Completion, EjectConfig, EndpointStatus, SetOptions,
};
use outrigger_core::{Outcome, Ratio, Status};

use crate::fleet::{Fleet, index_of, instance, ms, options, secs};

fn round_robin() -> SetOptions {
    let mut balance = BalanceConfig::default();
    balance.algorithm = Algorithm::RoundRobin;
    options().with_balance(balance)
}

#[test]
fn the_defaults_are_those_of_the_policy() {
    let eject = EjectConfig::default();
    assert_eq!(eject.consecutive_errors.get(), 5);
    assert_eq!((eject.interval, eject.base_time, eject.max_time), (secs(10), secs(30), secs(300)));
    assert_eq!(eject.max_ejected, Ratio::HALF);
    assert_eq!(eject.success_ratio_below, None);
    assert_eq!(eject.min_requests.get(), 5);
}

#[test]
fn one_endpoint_is_never_ejected_by_default() {
    let mut fleet = Fleet::of(1, round_robin());
    fleet.answer(0, 500, 100);
    assert_eq!(fleet.ejected(), 0, "one of one is more than half");
    assert!(!fleet.pick().is_panicking());
}

#[test]
fn one_of_two_is_ejected_and_the_other_never_with_it() {
    let mut fleet = Fleet::of(2, round_robin());
    fleet.answer(0, 500, 5);
    assert_eq!(fleet.log.take(), ["e0 ejected for 30s by consecutive_errors"]);
    assert_eq!(fleet.spread(2, 10), [0, 10]);
    fleet.answer(1, 500, 50);
    assert_eq!(fleet.ejected(), 1, "two of two is more than half");
    assert!(!fleet.pick().is_panicking(), "one of two is not below half");
}

#[test]
fn one_of_three_is_ejected_and_no_second() {
    let mut fleet = Fleet::of(3, round_robin());
    fleet.answer(0, 500, 5);
    fleet.answer(1, 500, 50);
    assert_eq!(fleet.ejected(), 1, "two of three is more than half");
    let spread = fleet.spread(3, 100);
    assert_eq!(spread[0], 0, "{spread:?}");
    assert!(!fleet.pick().is_panicking());
}

#[test]
fn the_fifth_error_in_a_row_ejects_at_once_and_a_success_starts_the_count_anew() {
    let mut fleet = Fleet::of(3, round_robin());
    fleet.answer(0, 500, 4);
    fleet.answer(0, 200, 1);
    fleet.answer(0, 500, 4);
    assert_eq!(fleet.ejected(), 0);
    assert_eq!(fleet.view(0).errors_in_a_row, 4);
    fleet.answer(0, 500, 1);
    assert_eq!(fleet.view(0).status, EndpointStatus::Ejected);
    assert_eq!(fleet.view(0).ejected_for, Some(secs(30)));
}

#[test]
fn errors_of_calls_in_flight_do_not_eject_twice() {
    let mut fleet = Fleet::of(3, round_robin());
    let picks: Vec<_> = (0..20).map(|_| fleet.pick_of(0)).collect();
    for pick in picks {
        drop(pick.complete(&Completion::status(fleet.now, 500)));
    }
    assert_eq!(fleet.log.take().len(), 1, "one ejection, whatever came after it");
    assert_eq!(fleet.view(0).ejected_for, Some(secs(30)), "the first of its kind");
}

#[test]
fn answers_from_before_the_return_do_not_eject_again() {
    let mut fleet = Fleet::of(3, round_robin());
    let stuck: Vec<_> = (0..20).map(|_| fleet.pick_of(0)).collect();
    fleet.answer(0, 500, 5);
    fleet.pass(secs(41));
    fleet.set.tick(fleet.now);
    assert_eq!(fleet.ejected(), 0);
    for pick in stuck {
        drop(pick.complete(&Completion::status(fleet.now, 504)));
    }
    assert_eq!(fleet.ejected(), 0, "they were begun before the ejection");
    fleet.answer(0, 500, 5);
    assert_eq!(fleet.ejected(), 1, "new ones count");
}

#[test]
fn it_returns_at_the_first_sweep_after_its_time_even_if_nobody_ticks() {
    let mut fleet = Fleet::of(2, round_robin());
    fleet.pass(secs(3));
    fleet.answer(0, 500, 5);
    fleet.pass(secs(36));
    assert_eq!(fleet.spread(2, 10), [0, 10], "33 s have not passed a sweep at 40 s");
    fleet.pass(secs(1));
    fleet.log.take();
    assert_eq!(fleet.spread(2, 10), [5, 5]);
    assert_eq!(fleet.log.take(), ["e0 returned"]);
}

#[test]
fn an_ejection_is_never_longer_than_the_longest() {
    let mut config = EjectConfig::default();
    config.max_time = secs(70);
    let mut fleet = Fleet::of(2, round_robin().with_eject(Some(config)));
    let mut spans = Vec::new();
    for _ in 0..4 {
        fleet.answer(0, 500, 5);
        spans.push(fleet.view(0).ejected_for.expect("ejected"));
        while fleet.ejected() == 1 {
            fleet.pass(secs(1));
            fleet.set.tick(fleet.now);
        }
    }
    assert_eq!(spans, [secs(30), secs(60), secs(70), secs(70)]);
}

#[test]
fn a_client_that_goes_away_ejects_nobody() {
    let mut fleet = Fleet::of(2, round_robin());
    for _ in 0..100 {
        let completion = Completion::new(fleet.now, Outcome::Ignored);
        drop(fleet.pick().complete(&completion));
        drop(fleet.pick());
    }
    let view = fleet.view(0);
    assert_eq!((view.requests, view.failures, view.in_flight), (0, 0, 0));
    assert_eq!(fleet.ejected(), 0);
}

#[test]
fn too_small_a_share_of_successes_ejects_at_the_sweep() {
    let mut config = EjectConfig::default();
    config.success_ratio_below = Some(Ratio::from_percent(80));
    config.min_requests = NonZeroU32::new(10).expect("not zero");
    let mut fleet = Fleet::of(3, round_robin().with_eject(Some(config)));
    for _ in 0..3 {
        // 7 of 10 for e0, 8 of 10 for e1, never five errors in a row; e2 has too few answers.
        fleet.answer(0, 200, 2);
        fleet.answer(0, 500, 1);
        fleet.answer(1, 200, 2);
    }
    fleet.answer(0, 200, 1);
    fleet.answer(1, 200, 2);
    fleet.answer(1, 500, 2);
    fleet.answer(2, 500, 4);
    fleet.pass(secs(10));
    fleet.set.tick(fleet.now);
    assert_eq!(fleet.log.take(), ["e0 ejected for 30s by success_ratio"]);
}

#[test]
fn all_critical_are_used_as_a_last_resort_and_it_is_called_panic() {
    for size in 1..=3 {
        let mut fleet = Fleet::of(size, round_robin());
        let critical = |index| {
            let mut instance = instance(index);
            instance.status = Status::Critical;
            instance
        };
        fleet.put((0..size).map(critical).collect());
        assert!(fleet.pick().is_panicking());
        assert!(fleet.spread(size, 12).iter().all(|&n| n == 12 / size), "all alike");
        let log = fleet.log.take();
        assert!(log.contains(&"panicking true".to_owned()), "{log:?}");
        fleet.put((0..size).map(instance).collect());
        assert!(!fleet.pick().is_panicking());
        assert!(fleet.log.take().contains(&"panicking false".to_owned()));
    }
}

#[test]
fn a_critical_endpoint_gets_nothing_while_another_is_left() {
    for size in 2..=3 {
        let mut fleet = Fleet::of(size, round_robin());
        let mut instances: Vec<_> = (0..size).map(instance).collect();
        for instance in &mut instances[1..] {
            instance.status = Status::Critical;
        }
        fleet.put(instances);
        let mut wanted = vec![0; size];
        wanted[0] = 20;
        assert_eq!(fleet.spread(size, 20), wanted);
        assert!(!fleet.pick().is_panicking(), "nothing is ignored: the usable one is used");
        // Ejected too it is still better than what the registry calls critical.
        fleet.answer(0, 500, 5);
        assert_eq!(fleet.spread(size, 20), wanted);
    }
}

#[test]
fn panic_begins_below_the_threshold_and_not_at_it() {
    let mut config = EjectConfig::default();
    config.max_ejected = Ratio::ONE;
    let mut fleet = Fleet::of(4, round_robin().with_eject(Some(config)));
    fleet.answer(0, 500, 5);
    fleet.answer(1, 500, 5);
    assert!(!fleet.pick().is_panicking(), "two of four is half");
    assert_eq!(fleet.log.take().len(), 2);
    fleet.answer(2, 500, 5);
    assert!(fleet.pick().is_panicking());
    let log = fleet.log.take();
    assert_eq!(log, ["e2 ejected for 30s by consecutive_errors", "panicking true"]);
    fleet.pass(secs(60));
    fleet.set.tick(fleet.now);
    assert!(!fleet.pick().is_panicking());
    assert!(fleet.log.take().contains(&"panicking false".to_owned()));
}

#[test]
fn everything_failing_keeps_flowing() {
    for size in 1..=3 {
        let mut fleet = Fleet::of(size, round_robin());
        for _ in 0..1_000 {
            fleet.pass(ms(50));
            fleet.call(500);
            assert!(fleet.ejected() * 2 <= size, "never more than half");
        }
    }
}

#[test]
fn switching_ejection_off_lets_everybody_return() {
    let mut fleet = Fleet::of(2, round_robin());
    fleet.answer(0, 500, 5);
    assert_eq!(fleet.ejected(), 1);
    fleet.set.reconfigure(round_robin().with_eject(None), fleet.now).expect("valid");
    assert_eq!(fleet.ejected(), 0);
    assert_eq!(fleet.spread(2, 10), [5, 5]);
    fleet.answer(0, 500, 50);
    assert_eq!(fleet.ejected(), 0);
}

#[test]
fn a_reset_of_the_body_counts_as_an_error() {
    let mut fleet = Fleet::of(2, round_robin());
    fleet.answer(0, 500, 3);
    let in_flight = fleet.pick_of(0).complete(&Completion::success(fleet.now));
    assert_eq!(fleet.view(0).in_flight, 1, "until the body ends");
    assert_eq!(fleet.view(0).errors_in_a_row, 0);
    in_flight.fail(&Completion::failure(fleet.now, outrigger_core::FailureKind::Reset));
    assert_eq!(fleet.view(0).errors_in_a_row, 1);
    assert_eq!(fleet.view(0).in_flight, 0);
}

#[test]
fn the_record_is_taken_from_the_member_that_was_picked() {
    let mut fleet = Fleet::of(3, round_robin());
    let pick = fleet.pick();
    let index = index_of(&pick);
    drop(pick.complete(&Completion::status(fleet.now, 500)));
    for other in 0..3 {
        assert_eq!(fleet.view(other).failures, u64::from(other == index));
    }
}

#[test]
fn a_brownout_of_thousands_ejects_half_and_costs_little() {
    let mut fleet = Fleet::of(2_000, round_robin());
    let mut late = 0;
    for _ in 0..15_000 {
        fleet.pass(std::time::Duration::from_micros(100));
        let pick = fleet.pick();
        if !pick.is_panicking() && fleet_has_ejected(&fleet, index_of(&pick)) {
            late += 1;
        }
        drop(pick.complete(&Completion::status(fleet.now, 500)));
    }
    assert_eq!(late, 0, "an ejected endpoint is not picked, whatever the candidates say");
    assert_eq!(fleet.ejected(), 1_000);
    fleet.pass(secs(60));
    fleet.set.tick(fleet.now);
    assert_eq!(fleet.ejected(), 0);
}

fn fleet_has_ejected(fleet: &Fleet, index: usize) -> bool {
    // The log is asked, since a view of thousands for each pick would take minutes.
    fleet.log.contains(&format!("e{index} ejected"))
}
