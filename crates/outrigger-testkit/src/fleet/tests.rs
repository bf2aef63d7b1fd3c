use super::*;

const MS: Duration = Duration::from_millis(1);

/// Chooses anybody.
struct Random;

impl Choose for Random {
    fn choose(&mut self, fleet: usize, _now: Instant, rng: &mut Rng) -> Option<usize> {
        (fleet > 0).then(|| rng.usize(..fleet))
    }

    fn complete(&mut self, _: usize, _: Outcome, _: Duration, _: Instant) {}
}

/// Chooses who has the fewest in flight; keeps count of what it was told.
struct Least {
    in_flight: Vec<i64>,
    up: Vec<bool>,
}

impl Choose for Least {
    fn choose(&mut self, fleet: usize, _now: Instant, _rng: &mut Rng) -> Option<usize> {
        let chosen = (0..fleet).filter(|&e| self.up[e]).min_by_key(|&e| self.in_flight[e])?;
        self.in_flight[chosen] += 1;
        Some(chosen)
    }

    fn complete(&mut self, endpoint: usize, _: Outcome, _: Duration, _: Instant) {
        self.in_flight[endpoint] -= 1;
    }

    fn change(&mut self, endpoint: usize, is_up: bool, _now: Instant) {
        self.up[endpoint] = is_up;
    }
}

fn steady(count: usize) -> Vec<Behaviour> {
    vec![Behaviour::new(Latency::Uniform(5 * MS, 15 * MS)); count]
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let fleet = |seed| {
        Fleet::new(seed, steady(200)).with_load(2_000.0, Duration::from_secs(5)).run(&mut Random)
    };
    assert_eq!(fleet(7), fleet(7));
    assert_ne!(fleet(7).sent, fleet(8).sent);
}

#[test]
fn what_comes_is_accounted_for() {
    crate::with_seed(|seed| {
        let behaviour = Behaviour::new(Latency::Tailed(MS, 10 * MS)).with_errors(0.25);
        let report = Fleet::new(seed, [behaviour; 10])
            .with_load(1_000.0, Duration::from_secs(20))
            .with_change(Duration::from_secs(5), 3, behaviour.down())
            .with_change(Duration::from_secs(10), 3, behaviour)
            .run(&mut Random);
        assert_eq!(report.requests, report.succeeded + report.failed + report.turned_away);
        assert_eq!(report.sent.iter().sum::<u64>(), report.requests - report.turned_away);
        // 20,000 expected; five standard deviations are 707.
        assert!((19_293..=20_707).contains(&report.requests), "{}", report.requests);
        // A quarter of all, and the requests of one of ten in 5 of 20 s fail wholly: 0.26875.
        let share = report.failed as f64 / report.requests as f64;
        assert!((0.25..0.29).contains(&share), "{share}");
    });
}

#[test]
fn workers_bound_what_an_endpoint_does_at_once() {
    // One worker at 10 ms each does 100 a second; at 80 a second the queue shows.
    let behaviour = Behaviour::new(Latency::Fixed(10 * MS)).with_workers(1);
    let report =
        Fleet::new(1, [behaviour]).with_load(80.0, Duration::from_secs(100)).run(&mut Random);
    assert_eq!(report.latencies[0], 10 * MS);
    assert!(report.quantile(0.5) > 15 * MS, "M/D/1 at 80 %: {:?}", report.quantile(0.5));
    assert!(report.quantile(0.5) < 40 * MS, "{:?}", report.quantile(0.5));
}

#[test]
fn a_chooser_is_told_of_every_end_and_every_change() {
    let mut chooser = Least { in_flight: vec![0; 3], up: vec![true; 3] };
    let behaviour = Behaviour::new(Latency::Fixed(50 * MS));
    let report = Fleet::new(3, [behaviour; 3])
        .with_load(500.0, Duration::from_secs(10))
        .with_change(Duration::from_secs(4), 0, behaviour.down())
        .run(&mut chooser);
    assert_eq!(chooser.in_flight, [0, 0, 0], "everything that began has ended");
    assert_eq!(chooser.up, [false, true, true]);
    // About 500 × 0.05 / 3 requests were on it when it went down.
    assert!((1..30).contains(&report.failed), "{}", report.failed);
    assert!(report.share_of(0) < report.share_of(1));
    assert!(report.share_within(50 * MS) > 0.99);
}

#[test]
#[should_panic(expected = "there is no endpoint 3")]
fn a_change_of_nobody_is_refused() {
    let _ = Fleet::new(0, steady(3)).with_change(MS, 3, Behaviour::new(Latency::Fixed(MS)));
}
