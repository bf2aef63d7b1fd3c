//! Many threads on one set: nothing is lost, nothing is counted twice, nobody waits for ever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use outrigger_balance::{Algorithm, BalanceConfig, Completion, Members, PickRequest};

use crate::fleet::{Fleet, endpoint, instance, options, secs};

#[test]
fn threads_share_a_set_while_it_changes_fails_and_recovers() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::RingHash, Algorithm::RoundRobin] {
        let mut balance = BalanceConfig::default();
        balance.algorithm = algorithm;
        let fleet = Fleet::of(6, options().with_balance(balance));
        let (set, t0) = (&fleet.set, fleet.now);
        let (picked, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (picked, refused, stop) = (&picked, &refused, &stop);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(thread);
                    let mut held = Vec::new();
                    for step in 0..20_000_u64 {
                        // The threads' clocks disagree a little, as those of cores may.
                        let now = t0 + Duration::from_micros(step * 500 + thread * 97);
                        let request = PickRequest::new(now).with_hash(Some(rng.u64(..)));
                        let Ok(pick) = set.pick(&request, &mut rng) else {
                            refused.fetch_add(1, Relaxed);
                            continue;
                        };
                        picked.fetch_add(1, Relaxed);
                        match step % 5 {
                            0 => drop(pick),
                            1 => held.push(pick.complete(&Completion::status(now, 500))),
                            _ => drop(pick.complete(&Completion::success(now))),
                        }
                        if held.len() > 50 {
                            held.clear();
                        }
                    }
                    stop.store(true, Relaxed);
                });
            }
            let stop = &stop;
            scope.spawn(move || {
                let mut version = 1;
                while !stop.load(Relaxed) {
                    version += 1;
                    let from = (version % 3) as usize;
                    let members = (from..from + 4).map(|i| endpoint(instance(i))).collect();
                    set.update(Members::new(version, members), t0 + secs(version % 10));
                    set.tick(t0 + secs(version % 20));
                    let view = set.view(t0 + secs(10));
                    let ejected = view.endpoints.iter().filter(|e| e.ejected_by.is_some()).count();
                    assert!(ejected <= 4, "a view is whole");
                }
            });
        });
        assert_eq!(refused.load(Relaxed), 0, "there was always an endpoint");
        assert_eq!(picked.load(Relaxed), 80_000);
        let members = (0..6).map(|index| endpoint(instance(index))).collect();
        set.update(Members::new(u64::MAX, members), t0 + secs(11));
        let view = set.view(t0 + secs(11));
        let in_flight: u32 = view.endpoints.iter().map(|e| e.in_flight).sum();
        assert_eq!(in_flight, 0, "what is taken is given back: {}", algorithm.as_str());
        let requests: u64 = view.endpoints.iter().map(|e| e.requests).sum();
        assert_eq!(requests, 64_000, "four of five were judged, each once");
        let failures: u64 = view.endpoints.iter().map(|e| e.failures).sum();
        assert_eq!(failures, 16_000);
    }
}

#[test]
fn a_storm_of_errors_ejects_each_endpoint_at_most_once() {
    let fleet = Fleet::of(10, options());
    let (set, now) = (&fleet.set, fleet.now);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                for _ in 0..5_000 {
                    let pick = set.pick(&PickRequest::new(now), &mut rng).expect("an endpoint");
                    drop(pick.complete(&Completion::status(now, 503)));
                }
            });
        }
    });
    let log = fleet.log.take();
    let ejections: Vec<_> = log.iter().filter(|line| line.contains("ejected")).collect();
    assert_eq!(ejections.len(), 5, "half of ten, each once: {ejections:?}");
    assert!(ejections.iter().all(|line| line.contains("30s")), "{ejections:?}");
}
