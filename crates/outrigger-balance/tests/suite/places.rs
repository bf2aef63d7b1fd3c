//! Zones, datacenters, subsets and apertures.

use std::collections::HashSet;
use std::num::NonZeroU32;

use outrigger_balance::{
    Algorithm, BalanceConfig, Caller, Completion, EjectConfig, Members, Peers, PickRequest,
    SetOptions, Subset,
};
use outrigger_core::{Instance, Language, Ratio, Status};

use crate::fleet::{Fleet, endpoint, index_of, instance, options};

fn round_robin() -> BalanceConfig {
    let mut balance = BalanceConfig::default();
    balance.algorithm = Algorithm::RoundRobin;
    balance
}

fn in_zone(index: usize, zone: &str) -> Instance {
    let mut instance = instance(index);
    instance.zone = Some(zone.into());
    instance
}

fn in_datacenter(index: usize, datacenter: &str) -> Instance {
    let mut instance = instance(index);
    instance.datacenter = Some(datacenter.into());
    instance
}

fn critical(mut instance: Instance) -> Instance {
    instance.status = Status::Critical;
    instance
}

fn from_zone(zone: &str) -> SetOptions {
    let caller = Caller::new(1).with_zone(Some(zone.into()));
    options().with_balance(round_robin()).with_caller(caller)
}

#[test]
fn the_callers_zone_is_preferred() {
    let mut fleet = Fleet::empty(from_zone("a"));
    fleet.put(vec![in_zone(0, "a"), in_zone(1, "b"), in_zone(2, "a"), instance(3)]);
    assert_eq!(fleet.spread(4, 100), [50, 0, 50, 0]);
    assert!(!fleet.view(1).candidate);
    assert!(fleet.view(0).candidate);
}

#[test]
fn without_a_zone_or_with_nobody_near_all_are_used() {
    let mut fleet = Fleet::empty(from_zone("c"));
    fleet.put(vec![in_zone(0, "a"), in_zone(1, "b")]);
    assert_eq!(fleet.spread(2, 100), [50, 50]);
    let mut fleet = Fleet::empty(options().with_balance(round_robin()));
    fleet.put(vec![in_zone(0, "a"), in_zone(1, "b")]);
    assert_eq!(fleet.spread(2, 100), [50, 50]);
}

#[test]
fn switched_off_locality_treats_all_alike() {
    let mut balance = round_robin();
    balance.locality = None;
    let mut fleet = Fleet::empty(from_zone("a").with_balance(balance));
    fleet.put(vec![in_zone(0, "a"), in_zone(1, "b")]);
    assert_eq!(fleet.spread(2, 100), [50, 50]);
}

#[test]
fn what_the_zone_cannot_carry_spills_over_in_proportion() {
    // Share of the zone that is usable → share that stays, with spill_below 0.7.
    for (down, stays) in [(0, 1.0), (3, 1.0), (5, 0.5 / 0.7), (8, 0.2 / 0.7), (10, 0.0)] {
        let mut fleet = Fleet::empty(from_zone("a"));
        let near = |index| {
            let near = in_zone(index, "a");
            if index < down { critical(near) } else { near }
        };
        let far = (10..30).map(|index| in_zone(index, "b"));
        fleet.put((0..10).map(near).chain(far).collect());
        let spread = fleet.spread(30, 10_000);
        let stayed = spread[..10].iter().sum::<usize>() as f64 / 10_000.0;
        // Four standard deviations.
        assert!((stayed - stays).abs() < 0.02, "{down} down: {stayed} stays, not {stays}");
        assert!(spread[..down].iter().all(|&n| n == 0), "{spread:?}");
    }
}

#[test]
fn an_ejection_spills_over_as_well() {
    let mut fleet = Fleet::empty(from_zone("a"));
    fleet.put(vec![in_zone(0, "a"), in_zone(1, "b"), in_zone(2, "b")]);
    fleet.answer(0, 500, 5);
    let spread = fleet.spread(3, 100);
    assert_eq!(spread[0], 0, "{spread:?}");
}

fn with_failover() -> SetOptions {
    let mut balance = round_robin();
    balance.failover = vec!["dc2".into(), "dc3".into()];
    let caller = Caller::new(1).with_datacenter(Some("dc1".into()));
    options().with_balance(balance).with_caller(caller)
}

#[test]
fn other_datacenters_are_used_in_order_when_none_is_usable_before_them() {
    let mut fleet = Fleet::empty(with_failover());
    let all = || (0..6).map(|index| in_datacenter(index, ["dc1", "dc2", "dc3"][index / 2]));
    fleet.put(all().collect());
    assert_eq!(fleet.spread(6, 60), [30, 30, 0, 0, 0, 0]);
    let down =
        |n: usize| all().enumerate().map(|(i, e)| if i < n { critical(e) } else { e }).collect();
    fleet.put(down(1));
    assert_eq!(fleet.spread(6, 60), [0, 60, 0, 0, 0, 0], "one here is enough");
    fleet.put(down(2));
    assert_eq!(fleet.spread(6, 60), [0, 0, 30, 30, 0, 0]);
    assert!(!fleet.pick().is_panicking(), "nothing is ignored");
    fleet.put(down(4));
    assert_eq!(fleet.spread(6, 60), [0, 0, 0, 0, 30, 30]);
    fleet.put(down(6));
    assert_eq!(fleet.spread(6, 60), [30, 30, 0, 0, 0, 0], "all critical: the nearest");
    assert!(fleet.pick().is_panicking());
}

#[test]
fn ejections_fail_over_too() {
    let mut config = EjectConfig::default();
    config.max_ejected = Ratio::HALF;
    let mut fleet = Fleet::empty(with_failover().with_eject(Some(config)));
    fleet.put((0..4).map(|index| in_datacenter(index, ["dc1", "dc2"][index / 2])).collect());
    fleet.answer(0, 500, 5);
    fleet.answer(1, 500, 5);
    assert_eq!(fleet.spread(4, 60), [0, 0, 30, 30]);
}

#[test]
fn datacenters_that_nobody_listed_are_not_used() {
    let mut fleet = Fleet::empty(with_failover());
    fleet.put(vec![in_datacenter(0, "dc9"), in_datacenter(1, "dc1")]);
    assert_eq!(fleet.spread(2, 10), [0, 10]);
    let mut fleet = Fleet::empty(options().with_balance(round_robin()));
    fleet.put(vec![in_datacenter(0, "dc9"), in_datacenter(1, "dc1")]);
    assert_eq!(fleet.spread(2, 10), [5, 5], "a caller that does not know where it is uses all");
}

fn subset(change: impl FnOnce(&mut Subset)) -> Subset {
    let mut subset = Subset::default();
    change(&mut subset);
    subset
}

#[test]
fn a_subset_is_chosen_by_everything_that_is_given() {
    let mut made = instance(0);
    made.language = Some(Language::Rust);
    made.version = Some("2.1.0".into());
    made.tags = vec!["canary".into()];
    made.meta.insert("team".into(), "blue".into());
    let range = |text: &str| text.parse::<semver::VersionReq>().expect("a range");
    let fits = |subset: Subset| subset.contains(&made);
    assert!(fits(Subset::default()));
    assert!(fits(subset(|s| s.language = Some(Language::Rust))));
    assert!(!fits(subset(|s| s.language = Some(Language::Java))));
    assert!(fits(subset(|s| s.version = Some(range(">=2")))));
    assert!(!fits(subset(|s| s.version = Some(range(">=3")))));
    assert!(fits(subset(|s| s.tag = Some("canary".into()))));
    assert!(!fits(subset(|s| s.tag = Some("Canary".into()))));
    assert!(fits(subset(|s| {
        s.meta.insert("team".into(), "blue".into());
    })));
    assert!(!fits(subset(|s| {
        s.language = Some(Language::Rust);
        s.meta.insert("team".into(), "red".into());
    })));
    assert!(!subset(|s| s.version = Some(range("*"))).contains(&instance(1)), "no version");
}

#[test]
fn a_pick_stays_in_its_subset_and_an_unknown_one_is_empty() {
    let java = subset(|s| s.language = Some(Language::Java));
    let rust = subset(|s| s.language = Some(Language::Rust));
    let options =
        options().with_balance(round_robin()).with_subset("java", java).with_subset("rust", rust);
    let mut fleet = Fleet::empty(options);
    let spoken = |index: usize| {
        let mut instance = instance(index);
        instance.language = Some(if index < 2 { Language::Java } else { Language::Rust });
        instance
    };
    fleet.put((0..5).map(spoken).collect());
    let pick = |fleet: &mut Fleet, name: &str| {
        let request = PickRequest::new(fleet.now).with_subset(Some(name));
        fleet.set.pick(&request, &mut fleet.rng).map(|pick| (index_of(&pick), pick.candidates()))
    };
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let (index, candidates) = pick(&mut fleet, "java").expect("two");
        assert_eq!(candidates, 2);
        seen.insert(index);
        assert!(pick(&mut fleet, "rust").expect("three").0 >= 2);
    }
    assert_eq!(seen, HashSet::from([0, 1]));
    assert!(pick(&mut fleet, "go").is_err());
    fleet.put((2..5).map(spoken).collect());
    assert!(pick(&mut fleet, "java").is_err(), "nobody speaks it any more");
}

#[test]
fn panic_is_judged_within_the_subset() {
    let java = subset(|s| s.tag = Some("j".into()));
    let mut config = EjectConfig::default();
    config.max_ejected = Ratio::ONE;
    let options =
        options().with_balance(round_robin()).with_eject(Some(config)).with_subset("java", java);
    let mut fleet = Fleet::empty(options);
    let tagged = |index: usize| {
        let mut instance = instance(index);
        if index < 2 {
            instance.tags = vec!["j".into()];
        }
        instance
    };
    fleet.put((0..8).map(tagged).collect());
    fleet.answer(0, 500, 5);
    fleet.answer(1, 500, 5);
    let request = PickRequest::new(fleet.now).with_subset(Some("java"));
    let pick = fleet.set.pick(&request, &mut fleet.rng).expect("in panic");
    assert!(pick.is_panicking());
    drop(pick.complete(&Completion::success(fleet.now)));
    assert!(!fleet.pick().is_panicking(), "six of eight are usable");
}

/// The endpoints that a caller uses.
fn used(caller: Caller, size: usize, aperture: u32) -> HashSet<usize> {
    let mut balance = round_robin();
    balance.aperture = NonZeroU32::new(aperture);
    let mut fleet = Fleet::empty(options().with_balance(balance).with_caller(caller));
    let members = (0..size).map(|index| endpoint(instance(index))).collect();
    fleet.set.update(Members::new(1, members), fleet.now);
    let uses: HashSet<usize> = (0..aperture * 4).map(|_| fleet.call(200)).collect();
    assert_eq!(uses.len(), (aperture as usize).min(size));
    uses
}

#[test]
fn an_aperture_is_the_same_for_the_same_caller() {
    assert_eq!(used(Caller::new(7), 20, 5), used(Caller::new(7), 20, 5));
    assert_ne!(used(Caller::new(7), 20, 5), used(Caller::new(8), 20, 5));
    assert_eq!(used(Caller::new(7), 3, 5).len(), 3, "no more than there are");
}

#[test]
fn an_aperture_hardly_moves_when_an_endpoint_comes() {
    for id in 0..50 {
        let before = used(Caller::new(id), 20, 5);
        let after = used(Caller::new(id), 21, 5);
        assert!(before.intersection(&after).count() >= 4, "{before:?} {after:?}");
    }
}

#[test]
fn apertures_of_known_peers_tile_evenly() {
    for (callers, size, aperture) in [(10_u32, 20, 4), (7, 5, 2), (30, 10, 3), (3, 100, 40)] {
        let mut users = vec![0_u32; size];
        for index in 0..callers {
            let peers = Peers { index, count: NonZeroU32::new(callers).expect("not zero") };
            for endpoint in
                used(Caller::new(u64::from(index)).with_peers(Some(peers)), size, aperture)
            {
                users[endpoint] += 1;
            }
        }
        let (least, most) = (users.iter().min(), users.iter().max());
        let spread = most.expect("some") - least.expect("some");
        assert!(spread <= 2, "{callers} callers, {size} endpoints, {aperture} each: {users:?}");
    }
}
