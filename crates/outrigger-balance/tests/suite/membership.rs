//! State is kept by instance id and address, over all changes of the set.

use std::sync::Arc;

use outrigger_balance::{Completion, EndpointStatus, Members};
use outrigger_core::{Address, Instance, InstanceId, Snapshot, Status};

use crate::fleet::{Fleet, address, instance, ms, options, secs, service};

#[test]
fn an_update_tells_what_changed() {
    let mut fleet = Fleet::empty(options());
    let change = fleet.put((0..3).map(instance).collect());
    assert_eq!((change.added, change.removed, change.kept), (3, 0, 0));
    let change = fleet.put((1..5).map(instance).collect());
    assert_eq!((change.added, change.removed, change.kept), (2, 1, 2));
    assert_eq!(fleet.set.counts(), (4, 4));
    assert_eq!(fleet.log.take(), ["set 1: 3 of 3 usable", "set 2: 4 of 4 usable"]);
}

#[test]
fn an_endpoint_that_is_told_twice_counts_once() {
    let mut fleet = Fleet::empty(options());
    let change = fleet.put(vec![instance(0), instance(1), instance(0)]);
    assert_eq!(change.added, 2);
    assert_eq!(fleet.set.counts().0, 2);
}

#[test]
fn what_is_known_survives_changes_of_others_and_a_short_absence() {
    let mut fleet = Fleet::of(3, options());
    let pick = fleet.pick_of(1);
    fleet.pass(ms(70));
    drop(pick.complete(&Completion::status(fleet.now, 500)));
    fleet.answer(1, 200, 3);
    let before = fleet.view(1);
    fleet.put(vec![instance(0), instance(1), instance(7)]);
    assert_eq!(fleet.view(1).requests, before.requests);
    fleet.put(vec![instance(0)]);
    fleet.pass(secs(5));
    fleet.put(vec![instance(0), instance(1)]);
    let after = fleet.view(1);
    assert_eq!((after.requests, after.failures), (before.requests, 1));
    assert_eq!(after.status, EndpointStatus::Passing, "no slow start after five seconds");
}

#[test]
fn an_ejection_is_not_escaped_by_leaving_and_coming_back() {
    let mut fleet = Fleet::of(3, options());
    fleet.answer(0, 500, 5);
    fleet.put(vec![instance(1), instance(2)]);
    assert_eq!(fleet.ejected(), 0, "it is not there");
    fleet.put((0..3).map(instance).collect());
    assert_eq!(fleet.view(0).status, EndpointStatus::Ejected);
    fleet.pass(secs(41));
    fleet.set.tick(fleet.now);
    assert_eq!(fleet.ejected(), 0);
}

#[test]
fn a_changed_weight_or_tag_takes_effect_and_keeps_the_state() {
    let mut fleet = Fleet::of(2, options());
    fleet.spread(2, 10);
    let requests = fleet.view(0).requests;
    let mut heavier = instance(0);
    heavier.weights.passing = 9;
    heavier.status = Status::Warning;
    heavier.weights.warning = 3;
    let change = fleet.put(vec![heavier, instance(1)]);
    assert_eq!(change.kept, 2);
    let view = fleet.view(0);
    assert_eq!((view.weight, view.requests, view.status), (3.0, requests, EndpointStatus::Warning));
    let spread = fleet.spread(2, 4_000);
    assert!((2_800..=3_200).contains(&spread[0]), "three of four: {spread:?}");
}

#[test]
fn another_boot_nonce_is_another_process() {
    let booted = |boot: &str| {
        let mut instance = instance(0);
        instance.boot = Some(boot.into());
        instance
    };
    let mut fleet = Fleet::empty(options());
    fleet.put(vec![booted("a"), instance(1)]);
    fleet.answer(0, 500, 5);
    assert_eq!(fleet.view(0).status, EndpointStatus::Ejected);
    fleet.pass(secs(1));
    fleet.put(vec![booted("a"), instance(1)]);
    assert_eq!(fleet.view(0).status, EndpointStatus::Ejected, "the same process");
    fleet.put(vec![booted("b"), instance(1)]);
    assert_eq!(fleet.view(0).status, EndpointStatus::Warming, "a new one starts slowly");
}

#[test]
fn slow_start_survives_other_changes_and_a_flapping_check() {
    let mut fleet = Fleet::of(2, options());
    fleet.put((0..3).map(instance).collect());
    fleet.pass(secs(15));
    fleet.put((1..4).map(instance).collect());
    assert!((fleet.view(2).weight - 0.5).abs() < 0.01, "{:?}", fleet.view(2));
    let mut critical = instance(2);
    critical.status = Status::Critical;
    fleet.put(vec![instance(1), critical]);
    fleet.pass(secs(6));
    fleet.put(vec![instance(1), instance(2)]);
    assert!((fleet.view(2).weight - 0.7).abs() < 0.01, "{:?}", fleet.view(2));
}

#[test]
fn who_was_critical_for_longer_than_the_window_starts_slowly() {
    let mut fleet = Fleet::of(2, options());
    let mut critical = instance(0);
    critical.status = Status::Critical;
    fleet.put(vec![critical.clone(), instance(1)]);
    fleet.pass(secs(20));
    fleet.put(vec![critical, instance(1)]);
    fleet.pass(secs(20));
    fleet.put(vec![instance(0), instance(1)]);
    assert_eq!(fleet.view(0).status, EndpointStatus::Warming);
}

#[test]
fn a_pick_outlives_the_set_it_came_from() {
    let mut fleet = Fleet::of(2, options());
    let first = fleet.pick_of(0);
    let second = fleet.pick_of(0);
    fleet.put(vec![instance(1)]);
    let in_flight = first.complete(&Completion::status(fleet.now, 500));
    fleet.put(vec![instance(0), instance(1)]);
    assert_eq!(fleet.view(0).in_flight, 2, "it is the same endpoint, and both are there");
    drop((in_flight, second));
    assert_eq!((fleet.view(0).in_flight, fleet.view(0).failures), (0, 1));
    let third = fleet.pick();
    drop(fleet);
    drop(third.complete(&Completion::failure(any_instant(), outrigger_core::FailureKind::Reset)));
}

fn any_instant() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves")]
    std::time::Instant::now()
}

#[test]
fn memory_is_bounded_under_churn() {
    let mut fleet = Fleet::of(3, options());
    for round in 0..2_000 {
        let from = 3 + round * 5 % 60_000;
        fleet.pass(ms(1));
        fleet.put((from..from + 5).map(instance).collect());
        fleet.call(200);
    }
    // 2 × 5 + 64 remembered, told by the only thing that shows: an endpoint that left long ago is
    // a stranger, one that left just now is not.
    let last = 3 + 1_999 * 5;
    fleet.put((last..last + 5).map(instance).collect());
    let known = |fleet: &Fleet| {
        let view = fleet.set.view(fleet.now);
        view.endpoints.iter().map(|e| e.requests).sum::<u64>()
    };
    assert_eq!(known(&fleet), 1);
    fleet.put((3..8).map(instance).collect());
    assert_eq!(known(&fleet), 0);
}

#[test]
fn a_snapshot_becomes_endpoints_by_address_or_by_resolving() {
    let mut named = instance(1);
    named.address = Address::Name("stock.example".into(), 8080);
    let mut unknown = instance(2);
    unknown.address = Address::Name("nowhere.example".into(), 8080);
    let snapshot = Snapshot::new(
        service(),
        7,
        vec![Arc::new(instance(0)), Arc::new(named), Arc::new(unknown)],
        std::time::SystemTime::UNIX_EPOCH,
    );
    let resolve = |_: &Arc<Instance>, host: &str, _: u16| match host {
        "stock.example" => vec![address(10), address(11)],
        _ => Vec::new(),
    };
    let members = Members::of(&snapshot, resolve);
    let addresses: Vec<_> = members.endpoints.iter().map(|e| e.address()).collect();
    assert_eq!(addresses, [address(0), address(10), address(11)]);
    assert_eq!(members.version, 7);
}

#[test]
fn five_thousand_endpoints_are_put_into_use_in_little_time() {
    let mut fleet = Fleet::empty(options());
    let instances: Vec<_> = (0..5_000)
        .map(|index| {
            let mut made = instance(index);
            made.id = InstanceId::new(&format!("e{index}")).expect("valid");
            made
        })
        .collect();
    fleet.put(instances.clone());
    let mut once = || {
        let from = any_instant();
        fleet.put(instances.clone());
        from.elapsed()
    };
    // The quickest of some, since the machine may be busy with something else.
    let each = (0..8).map(|_| once()).min().expect("eight");
    // The budget is 20 ms a change with everything before it, in release; a debug build on a busy
    // machine gets ten times as much.
    assert!(each < ms(200), "{each:?}");
}
