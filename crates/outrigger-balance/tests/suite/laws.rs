//! Laws that hold for any history: members come, go, fail and recover in any order.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_balance::{
    Algorithm, BalanceConfig, Completion, EjectConfig, EndpointStatus, InFlight, Pick,
};
use outrigger_core::{Outcome, Ratio, Status};
use proptest::prelude::*;

use crate::fleet::{Fleet, index_of, instance, options};

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Call { status: u16 },
    Hold,
    Finish { status: u16 },
    Abandon,
    Put { mask: u16, critical: u16, weightless: u16 },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u64..30_000).prop_map(Step::Pass),
        8 => prop_oneof![Just(200_u16), Just(500), Just(500), Just(429), Just(503)]
            .prop_map(|status| Step::Call { status }),
        2 => Just(Step::Hold),
        2 => prop_oneof![Just(200_u16), Just(504)].prop_map(|status| Step::Finish { status }),
        1 => Just(Step::Abandon),
        1 => (any::<u16>(), any::<u16>(), any::<u16>())
            .prop_map(|(mask, critical, weightless)| Step::Put {
                mask,
                critical: critical & mask.rotate_left(3),
                weightless: weightless & mask.rotate_left(7),
            }),
        1 => Just(Step::Tick),
    ]
}

#[derive(Default)]
struct Held {
    picks: Vec<Pick>,
    bodies: Vec<InFlight>,
}

fn check_pick(fleet: &Fleet, pick: &Pick) -> Result<(), TestCaseError> {
    let view = fleet.view(index_of(pick));
    let others = fleet.set.view(fleet.now).endpoints;
    let usable = |status: EndpointStatus| {
        !matches!(
            status,
            EndpointStatus::Ejected | EndpointStatus::Critical | EndpointStatus::Unweighted
        )
    };
    let any_usable = others.iter().any(|e| usable(e.status));
    if !pick.is_panicking() {
        prop_assert_ne!(view.status, EndpointStatus::Ejected, "ejected without panic");
        prop_assert_ne!(view.status, EndpointStatus::Critical, "critical without panic");
    }
    if any_usable {
        prop_assert_ne!(view.status, EndpointStatus::Critical, "a usable one was left");
        prop_assert_ne!(view.status, EndpointStatus::Unweighted, "a usable one was left");
    }
    Ok(())
}

/// Runs a history and checks the laws after each step.
fn obey(
    algorithm: Algorithm,
    max_ejected: Ratio,
    sizes: usize,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut balance = BalanceConfig::default();
    balance.algorithm = algorithm;
    let mut eject = EjectConfig::default();
    eject.consecutive_errors = NonZeroU32::new(2).expect("not zero");
    eject.max_ejected = max_ejected;
    let mut fleet = Fleet::of(sizes, options().with_balance(balance).with_eject(Some(eject)));
    let mut held = Held::default();
    for step in steps {
        match step {
            Step::Pass(ms) => fleet.pass(Duration::from_millis(ms)),
            Step::Tick => fleet.set.tick(fleet.now),
            Step::Call { status } => {
                if let Ok(pick) = fleet.try_pick() {
                    check_pick(&fleet, &pick)?;
                    drop(pick.complete(&Completion::status(fleet.now, status)));
                }
            }
            Step::Hold => held.picks.extend(fleet.try_pick()),
            Step::Finish { status } => {
                if let Some(pick) = held.picks.pop() {
                    held.bodies.push(pick.complete(&Completion::status(fleet.now, status)));
                }
            }
            Step::Abandon => {
                if let Some(pick) = held.picks.pop() {
                    drop(pick.complete(&Completion::new(fleet.now, Outcome::Ignored)));
                }
                held.bodies.pop();
            }
            Step::Put { mask, critical, weightless } => {
                let bit = |bits: u16, index: usize| bits >> (index % 16) & 1 == 1;
                let made = |index: usize| {
                    let mut instance = instance(index);
                    if bit(critical, index) {
                        instance.status = Status::Critical;
                    }
                    if bit(weightless, index) {
                        instance.weights.passing = 0;
                    }
                    instance
                };
                fleet.put((0..sizes).filter(|&index| bit(mask, index)).map(made).collect());
            }
        }
        let view = fleet.set.view(fleet.now);
        let all = view.endpoints.len();
        let ids: HashSet<_> = view.endpoints.iter().map(|e| e.endpoint.address()).collect();
        prop_assert_eq!(ids.len(), all, "each endpoint once");
        prop_assert_eq!(fleet.try_pick().is_err(), all == 0, "refused exactly when empty");
        prop_assert!(
            view.endpoints.iter().all(|e| e.load.is_finite() && e.load >= 0.0),
            "loads are numbers"
        );
    }
    let in_flight: usize =
        fleet.set.view(fleet.now).endpoints.iter().map(|e| e.in_flight as usize).sum();
    prop_assert!(in_flight <= held.picks.len() + held.bodies.len());
    drop(held);
    let view = fleet.set.view(fleet.now);
    prop_assert!(view.endpoints.iter().all(|e| e.in_flight == 0), "what is taken is given back");
    Ok(())
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(Algorithm::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_at_one_endpoint(a in algorithm(), steps in prop::collection::vec(step(), 1..80)) {
        obey(a, Ratio::HALF, 1, steps)?;
    }

    #[test]
    fn the_laws_hold_at_two_endpoints(a in algorithm(), steps in prop::collection::vec(step(), 1..80)) {
        obey(a, Ratio::HALF, 2, steps)?;
    }

    #[test]
    fn the_laws_hold_at_three_endpoints(a in algorithm(), steps in prop::collection::vec(step(), 1..80)) {
        obey(a, Ratio::HALF, 3, steps)?;
    }

    #[test]
    fn the_laws_hold_at_many_endpoints(
        a in algorithm(),
        max in 0_u8..=100,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        obey(a, Ratio::from_percent(max), 12, steps)?;
    }

    #[test]
    fn never_more_are_ejected_than_the_maximum(
        size in 1_usize..20,
        max in 0_u8..=100,
        failing in prop::collection::vec(any::<bool>(), 300),
    ) {
        let mut config = EjectConfig::default();
        config.consecutive_errors = NonZeroU32::MIN;
        config.max_ejected = Ratio::from_percent(max);
        let mut fleet = Fleet::of(size, options().with_eject(Some(config)));
        for failed in failing {
            fleet.pass(Duration::from_millis(137));
            if let Ok(pick) = fleet.try_pick() {
                let status = if failed { 500 } else { 200 };
                drop(pick.complete(&Completion::status(fleet.now, status)));
            }
            // Membership is constant here, so the bound holds at every moment.
            prop_assert!(fleet.ejected() * 100 <= usize::from(max) * size);
        }
    }
}
