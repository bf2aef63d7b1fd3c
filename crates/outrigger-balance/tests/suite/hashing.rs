//! Ring hash and Maglev: the same key goes to the same endpoint, and few move.

use outrigger_balance::{Algorithm, BalanceConfig, PickRequest, SetOptions, hash_key};

use crate::fleet::{Fleet, index_of, instance, options};

const HASHING: [Algorithm; 2] = [Algorithm::RingHash, Algorithm::Maglev];
const KEYS: u64 = 10_000;

fn with(algorithm: Algorithm) -> SetOptions {
    let mut balance = BalanceConfig::default();
    balance.algorithm = algorithm;
    options().with_balance(balance)
}

fn home(fleet: &mut Fleet, key: u64) -> usize {
    let request = PickRequest::new(fleet.now).with_hash(Some(hash_key(&key.to_le_bytes())));
    index_of(&fleet.set.pick(&request, &mut fleet.rng).expect("an endpoint"))
}

fn homes(fleet: &mut Fleet) -> Vec<usize> {
    (0..KEYS).map(|key| home(fleet, key)).collect()
}

#[test]
fn the_hash_of_a_key_never_changes() {
    // Callers of different versions must agree; a change here is a change of the protocol.
    assert_eq!(hash_key(b""), 0xefd0_1f60_ba99_2926);
    assert_eq!(hash_key(b"user-1"), hash_key(b"user-1"));
    assert_ne!(hash_key(b"user-1"), hash_key(b"user-2"));
}

#[test]
fn a_key_stays_where_it_is() {
    for algorithm in HASHING {
        let mut fleet = Fleet::of(10, with(algorithm));
        let before = homes(&mut fleet);
        // Another caller with another seed, told in another order, agrees.
        let mut other = Fleet::empty(with(algorithm).with_seed(99));
        other.put((0..10).rev().map(instance).collect());
        if algorithm == Algorithm::RingHash {
            assert_eq!(before, homes(&mut other), "{}", algorithm.as_str());
        }
        other.put((0..10).map(instance).collect());
        assert_eq!(before, homes(&mut other), "{}", algorithm.as_str());
    }
}

#[test]
fn each_endpoint_gets_about_its_share_of_the_keys() {
    for (algorithm, tolerance) in [(Algorithm::RingHash, 0.35), (Algorithm::Maglev, 0.12)] {
        for size in [1, 2, 3, 10] {
            let mut fleet = Fleet::of(size, with(algorithm));
            let mut counts = vec![0_u64; size];
            for index in homes(&mut fleet) {
                counts[index] += 1;
            }
            let mean = KEYS as f64 / size as f64;
            for &count in &counts {
                // 160 points an endpoint: a standard deviation of 8 %; four of them.
                let off = (count as f64 / mean - 1.0).abs();
                assert!(off < tolerance, "{}: {counts:?}", algorithm.as_str());
            }
        }
    }
}

#[test]
fn twice_the_weight_gets_twice_the_keys() {
    for algorithm in HASHING {
        let mut fleet = Fleet::empty(with(algorithm));
        let mut instances: Vec<_> = (0..5).map(instance).collect();
        instances[4].weights.passing = 2;
        fleet.put(instances);
        let heavy = homes(&mut fleet).into_iter().filter(|&index| index == 4).count() as f64;
        let share = heavy / KEYS as f64;
        assert!((share - 2.0 / 6.0).abs() < 0.06, "{}: {share}", algorithm.as_str());
    }
}

#[test]
fn when_an_endpoint_leaves_only_its_keys_move() {
    for (algorithm, allowed) in [(Algorithm::RingHash, 0.0), (Algorithm::Maglev, 0.05)] {
        let mut fleet = Fleet::of(10, with(algorithm));
        let before = homes(&mut fleet);
        fleet.put((0..10).filter(|&index| index != 3).map(instance).collect());
        let after = homes(&mut fleet);
        let moved = before.iter().zip(&after).filter(|&(b, a)| *b != 3 && b != a).count() as f64;
        let share = moved / KEYS as f64;
        assert!(share <= allowed, "{}: {share} of the others' keys moved", algorithm.as_str());
        fleet.put((0..10).map(instance).collect());
        assert_eq!(before, homes(&mut fleet), "and they come back");
    }
}

#[test]
fn when_an_endpoint_comes_it_takes_its_share_and_nothing_else_moves() {
    for (algorithm, allowed) in [(Algorithm::RingHash, 0.0), (Algorithm::Maglev, 0.05)] {
        let mut fleet = Fleet::of(10, with(algorithm));
        let before = homes(&mut fleet);
        fleet.put((0..11).map(instance).collect());
        let after = homes(&mut fleet);
        let moved = |to_new: bool| {
            let moves = before.iter().zip(&after).filter(|(b, a)| b != a);
            moves.filter(|&(_, a)| (*a == 10) == to_new).count() as f64 / KEYS as f64
        };
        assert!((moved(true) - 1.0 / 11.0).abs() < 0.04, "{}", algorithm.as_str());
        assert!(moved(false) <= allowed, "{}: {}", algorithm.as_str(), moved(false));
    }
}

#[test]
fn an_ejected_endpoints_keys_go_elsewhere_and_come_back() {
    for algorithm in HASHING {
        let mut fleet = Fleet::of(5, with(algorithm));
        let before = homes(&mut fleet);
        fleet.answer(2, 500, 5);
        let after = homes(&mut fleet);
        assert!(after.iter().all(|&index| index != 2), "{}", algorithm.as_str());
        fleet.pass(crate::fleet::secs(41));
        fleet.set.tick(fleet.now);
        assert_eq!(before, homes(&mut fleet), "{}", algorithm.as_str());
    }
}

#[test]
fn a_hot_key_is_bounded_and_overflows_to_the_same_places() {
    for algorithm in HASHING {
        let mut fleet = Fleet::of(4, with(algorithm));
        let mut held = Vec::new();
        let mut counts = [0_u32; 4];
        for total in 1..=200_u32 {
            let request = PickRequest::new(fleet.now).with_hash(Some(hash_key(b"hot")));
            let pick = fleet.set.pick(&request, &mut fleet.rng).expect("an endpoint");
            counts[index_of(&pick)] += 1;
            held.push(pick);
            let bound = (1.25 * f64::from(total) / 4.0).ceil() as u32;
            let most = *counts.iter().max().expect("four");
            assert!(most <= bound.max(1), "{}: {counts:?} of {total}", algorithm.as_str());
        }
        drop(held);
        let again = home(&mut fleet, 0);
        assert_eq!(again, home(&mut fleet, 0), "idle again, the key is at home");
    }
}

#[test]
fn without_a_key_it_is_by_lot() {
    for algorithm in HASHING {
        let mut fleet = Fleet::of(4, with(algorithm));
        let spread = fleet.spread(4, 4_000);
        assert!(spread.iter().all(|&n| (850..1_150).contains(&n)), "{spread:?}");
    }
}
