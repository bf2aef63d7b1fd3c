//! A look at a circuit says what asking would, and what an observed one spares is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outrigger_core::{CircuitState, Event, Observe, Observers, Outcome, Reason, RouteName};

use crate::{Breaker, BreakerConfig, Mode};

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn in_mode(mode: Mode) -> BreakerConfig {
    BreakerConfig { mode, ..BreakerConfig::default() }
}

#[test]
fn a_look_says_what_asking_would_and_changes_nothing() {
    let mut rng = fastrand::Rng::with_seed(17);
    for mode in [Mode::Enforce, Mode::Observe, Mode::ForcedOpen, Mode::Disabled] {
        let mut now = epoch();
        let breaker = Breaker::new(in_mode(mode), 7, now).expect("valid");
        let mut held = Vec::new();
        let mut rejected = 0;
        for _ in 0..5_000 {
            now += Duration::from_millis(rng.u64(..400));
            let (before, seen) = (breaker.state(now), breaker.peek(now));
            assert_eq!((breaker.state(now), breaker.peek(now)), (before, seen));
            match (seen, breaker.admit(now)) {
                (Ok(()), Ok(permit)) => held.push(permit),
                (Err(seen), Err(open)) => {
                    assert_eq!(seen, open, "{mode:?}");
                    rejected += 1;
                }
                (seen, _) => panic!("{mode:?}: saw {seen:?} in {before:?}, and asking differs"),
            }
            if rng.u8(..3) > 0 && !held.is_empty() {
                let permit = held.swap_remove(rng.usize(..held.len()));
                // Bad times and good times, so that it opens and closes.
                let bad = (now - epoch()).as_secs() % 120 < 60 && rng.u8(..10) > 2;
                let outcome = if bad { Outcome::Failure } else { Outcome::Success };
                permit.record(outcome, Duration::from_millis(1), now);
            }
        }
        match mode {
            Mode::Enforce => assert!((500..4_500).contains(&rejected), "{rejected}"),
            Mode::ForcedOpen => assert_eq!(rejected, 5_000),
            _ => assert_eq!(rejected, 0),
        }
    }
}

#[derive(Debug, Default)]
struct Spared(AtomicU32);

impl Observe for Spared {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Spared { reason: Reason::CircuitOpen, rule: "breaker", .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_an_observed_circuit_would_have_rejected_is_told() {
    let now = epoch();
    let spared = Arc::new(Spared::default());
    let observers = Observers::none().with(spared.clone());
    let service = "stock".parse().expect("valid");
    let breaker = Breaker::builder(in_mode(Mode::Observe))
        .observers(observers, service, RouteName::default())
        .build(now)
        .expect("valid");
    for _ in 0..20 {
        breaker.admit(now).expect("observed").record(Outcome::Failure, Duration::ZERO, now);
    }
    assert_eq!(breaker.state(now), CircuitState::Open);
    assert_eq!(spared.0.load(Ordering::Relaxed), 0, "it was closed for all of these");
    for _ in 0..7 {
        assert!(breaker.admit(now).is_ok_and(|permit| permit.is_spared()));
    }
    assert_eq!(spared.0.load(Ordering::Relaxed), 7);
}
