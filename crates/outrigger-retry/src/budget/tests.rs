use super::*;
use proptest::prelude::*;

fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_defaults_are_those_of_the_documents_and_hold() {
    let config = BudgetConfig::default();
    assert_eq!(config.ratio.get(), 0.2);
    assert_eq!((config.min_concurrent, config.min_per_second), (3, 10));
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn a_young_process_has_a_seconds_worth_and_no_more_for_a_second() {
    let t0 = epoch();
    let budget = Budget::new(&BudgetConfig::default(), t0);
    let taken = |at| std::iter::from_fn(|| budget.try_retry(at)).count();
    assert_eq!(taken(t0), 10);
    assert_eq!(taken(t0 + SECOND - Duration::from_nanos(1)), 0);
    assert_eq!(taken(t0 + SECOND * 11 / 10), 1, "a tenth of a second brings one");
    assert_eq!(taken(t0 + SECOND * 60), 10, "quiet hours do not pile up");
}

#[test]
fn five_requests_pay_for_one_retry() {
    let t0 = epoch();
    let config = BudgetConfig { min_per_second: 0, ..BudgetConfig::default() };
    let budget = Budget::new(&config, t0);
    for _ in 0..4 {
        drop(budget.begin_request());
    }
    assert!(budget.try_retry(t0).is_none(), "four do not");
    drop(budget.begin_request());
    assert!(budget.try_retry(t0).is_some());
    assert!(budget.try_retry(t0).is_none(), "it was taken");
}

#[test]
fn running_retries_are_bounded_by_requests_in_flight() {
    let t0 = epoch();
    let budget = Budget::new(&BudgetConfig::default(), t0);
    let requests: Vec<_> = (0..50).map(|_| budget.begin_request()).collect();
    let running: Vec<_> = std::iter::from_fn(|| budget.try_retry(t0)).collect();
    assert_eq!(running.len(), 10, "a fifth of 50");
    assert_eq!(budget.running(), 10);

    drop(requests);
    drop(running);
    assert_eq!((budget.running(), budget.in_flight()), (0, 0), "all was given back");
    let running: Vec<_> = std::iter::from_fn(|| budget.try_retry(t0)).collect();
    assert_eq!(running.len(), 3, "the minimum, with nothing in flight");
}

#[test]
fn a_retry_that_never_starts_gives_its_token_back() {
    let t0 = epoch();
    let budget = Budget::new(&BudgetConfig::default(), t0);
    let before = budget.tokens(t0);
    for _ in 0..1_000 {
        let reservation = budget.reserve(t0).expect("the one before was given back");
        drop(reservation);
    }
    assert_eq!(budget.tokens(t0), before);

    let blocked = BudgetConfig { min_concurrent: 0, ..BudgetConfig::default() };
    budget.reconfigure(&blocked);
    assert!(budget.try_retry(t0).is_none(), "none may run");
    assert_eq!(budget.tokens(t0), before, "and none was paid for");
}

#[test]
fn a_retry_that_started_is_paid_for() {
    let t0 = epoch();
    let budget = Budget::new(&BudgetConfig::default(), t0);
    drop(budget.try_retry(t0));
    assert_eq!(budget.tokens(t0), 9);
}

#[test]
fn stacked_layers_of_a_process_share_one_budget() {
    let t0 = epoch();
    let budgets = Budgets::new();
    let stock = ServiceName::new("stock").expect("valid");
    let price = ServiceName::new("price").expect("valid");
    let config = BudgetConfig::default();
    let first = budgets.of(&stock, &config, t0);
    assert!(Arc::ptr_eq(&first, &budgets.of(&stock, &config, t0)));
    assert!(!Arc::ptr_eq(&first, &budgets.of(&price, &config, t0)));

    let _request = first.begin_request();
    let harder = BudgetConfig { min_per_second: 0, ..config };
    assert_eq!(budgets.of(&stock, &harder, t0).in_flight(), 1, "a reload keeps what is counted");
    assert!(first.try_retry(t0).is_none(), "and puts its bounds in force");
}

#[test]
fn what_is_out_of_range_is_named() {
    let config = BudgetConfig { min_per_second: 100_001, ..BudgetConfig::default() };
    let error = config.validate().expect_err("out of range").to_string();
    assert_eq!(error, "retry.budget.min_per_second is 100001; allowed is 0 to 100000");
}

#[derive(Clone, Debug)]
enum Step {
    Request,
    Retry,
    Reserve,
    Abandon,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Request),
        4 => Just(Step::Retry),
        1 => Just(Step::Reserve),
        1 => Just(Step::Abandon),
        2 => (0_u64..3_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// From the start: retries <= ratio × requests + min_per_second × max(t, 1 s).
    #[test]
    fn retries_never_exceed_what_requests_and_time_put_in(
        steps in steps(),
        percent in 0_u8..=100,
        per_second in 0_u32..50,
    ) {
        let t0 = epoch();
        let config = BudgetConfig {
            ratio: Ratio::from_percent(percent),
            min_concurrent: 10_000,
            min_per_second: per_second,
        };
        let budget = Budget::new(&config, t0);
        let (mut now, mut requests, mut retries) = (t0, 0_u32, 0_u32);
        let mut reserved = Vec::new();
        for step in steps {
            match step {
                Step::Request => {
                    drop(budget.begin_request());
                    requests += 1;
                }
                Step::Retry => retries += u32::from(budget.try_retry(now).is_some()),
                Step::Reserve => reserved.extend(budget.reserve(now)),
                Step::Abandon => drop(reserved.pop()),
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            let lived = now.duration_since(t0).max(SECOND).as_secs_f64();
            let allowed = config.ratio.get() * f64::from(requests) + f64::from(per_second) * lived;
            // A millionth for the rounding of a price that is no whole number of nanoseconds.
            prop_assert!(f64::from(retries) <= allowed * (1.0 + 1e-6) + 1e-6);
        }
        drop(reserved);
        prop_assert_eq!(budget.running(), 0);
        prop_assert_eq!(budget.in_flight(), 0);
    }
}

#[test]
#[cfg(not(any(loom, shuttle)))]
fn threads_never_take_more_than_there_is() {
    let t0 = epoch();
    let config =
        BudgetConfig { min_concurrent: 10_000, min_per_second: 1_000, ..BudgetConfig::default() };
    let budget = Budget::new(&config, t0);
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..5_000).filter(|_| budget.try_retry(t0).is_some()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(taken, 1_000, "each token is taken exactly once");
    assert_eq!(budget.running(), 0);
}
