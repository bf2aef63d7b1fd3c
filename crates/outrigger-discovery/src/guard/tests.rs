use std::net::SocketAddr;

use super::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

// An instant is only ever compared with others that are made from it.
fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    Instant::now()
}

fn instance(n: u16) -> Arc<Instance> {
    let id = format!("stock-{n}").parse().expect("valid");
    let address = SocketAddr::from(([127, 0, 0, 1], 9000 + n));
    Arc::new(Instance::new(id, "stock".parse().expect("valid"), address))
}

fn set(range: std::ops::Range<u16>) -> Vec<Arc<Instance>> {
    range.map(instance).collect()
}

fn answer(range: std::ops::Range<u16>, index: u64) -> Answer {
    Answer::new(set(range), index)
}

/// A guard that has seen a working set of three at index 40.
fn working(t0: Instant) -> Guard {
    let mut guard = Guard::new(GuardConfig::default());
    let verdict = guard.observe(answer(1..4, 40), t0);
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Live));
    guard
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = GuardConfig::default();
    assert_eq!(
        (config.hold, config.confirm_after, config.stale_for),
        (secs(30), secs(10), secs(600))
    );
    assert_eq!(GuardConfig::for_ttl(secs(15)).hold, secs(30));
    assert_eq!(GuardConfig::for_ttl(secs(60)).hold, secs(120));
    assert_eq!(config.validate(), Ok(()));
    let wrong = GuardConfig { stale_for: secs(1), ..config };
    assert_eq!(wrong.validate().expect_err("less than `hold`").key, "stale_for");
}

#[test]
fn an_empty_answer_is_held_until_the_last_tick_and_then_believed() {
    let t0 = epoch();
    let mut guard = working(t0);
    let verdict = guard.observe(answer(0..0, 41), t0);
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Held));
    assert_eq!(guard.deadline(), Some(t0 + secs(30)));
    assert_eq!(guard.tick(t0 + secs(30) - Duration::from_nanos(1)).instances.len(), 3);
    let verdict = guard.tick(t0 + secs(30));
    assert_eq!((verdict.instances.len(), verdict.freshness), (0, Freshness::Live));
    assert_eq!((guard.is_holding(), guard.deadline()), (false, None));
}

#[test]
fn a_service_that_never_had_instances_is_empty_at_once() {
    let t0 = epoch();
    let mut guard = Guard::new(GuardConfig::default());
    let verdict = guard.observe(answer(0..0, 1), t0);
    assert_eq!((verdict.instances.len(), verdict.freshness), (0, Freshness::Live));
    assert!(!guard.is_holding());
}

#[test]
fn a_second_answer_confirms_only_when_all_four_conditions_hold() {
    let t0 = epoch();
    let again = |at: u64, index: u64, witness: Option<bool>, filtered: bool| {
        let mut guard = working(t0);
        guard.observe(answer(0..0, 41), t0);
        let second = answer(0..0, index).with_witness(witness).with_filtered(filtered);
        guard.observe(second, t0 + secs(at)).instances.len()
    };
    assert_eq!(again(10, 41, Some(true), false), 0, "confirmed");
    assert_eq!(again(9, 41, Some(true), false), 3, "too early");
    assert_eq!(again(10, 40, Some(true), false), 3, "the index fell");
    assert_eq!(again(10, 41, None, false), 3, "no witness");
    assert_eq!(again(10, 41, Some(false), false), 3, "the registry lists nobody any more");
    assert_eq!(again(10, 41, Some(true), true), 3, "it left something out");
}

#[test]
fn the_first_empty_answer_never_confirms_itself() {
    let t0 = epoch();
    let mut guard = working(t0);
    let first = answer(0..0, 41).with_witness(Some(true));
    assert_eq!(guard.observe(first, t0 + secs(3600)).instances.len(), 3);
    assert_eq!(guard.confirm_at(), Some(t0 + secs(3610)));
}

#[test]
fn an_answer_that_says_it_is_not_whole_is_doubted_for_ten_minutes_and_no_longer() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 41).with_filtered(true), t0);
    assert_eq!(guard.confirm_at(), None);
    assert_eq!(guard.tick(t0 + secs(599)).instances.len(), 3);
    assert_eq!(guard.tick(t0 + secs(600)).instances.len(), 0);
}

#[test]
fn a_token_that_got_its_rights_back_ends_the_longer_doubt() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 41).with_filtered(true), t0);
    let verdict = guard.observe(answer(0..0, 41), t0 + secs(100));
    assert_eq!(verdict.instances.len(), 0, "the ordinary hold has passed");
}

#[test]
fn a_full_answer_ends_the_doubt() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 41), t0);
    let verdict = guard.observe(answer(1..3, 42), t0 + secs(5));
    assert_eq!((verdict.instances.len(), verdict.freshness), (2, Freshness::Live));
    assert!(!guard.is_holding(), "the third is gone by the registry's word");
}

#[test]
fn forgotten_instances_stay_stale_while_they_accept_connections_and_not_longer_than_ten_minutes() {
    let t0 = epoch();
    let mut guard = working(t0);
    let verdict = guard.observe(answer(0..0, 7), t0);
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Held));
    assert_eq!(guard.suspects().count(), 3);
    for n in [1, 2] {
        guard.probed(&instance(n).id, true);
    }
    let verdict = guard.tick(t0 + secs(30));
    assert_eq!((verdict.instances, verdict.freshness), (set(1..3), Freshness::Stale));
    guard.probed(&instance(2).id, false);
    assert_eq!(guard.tick(t0 + secs(31)).instances, set(1..2), "it stopped accepting");
    assert_eq!(guard.tick(t0 + secs(599)).instances.len(), 1);
    let verdict = guard.tick(t0 + secs(600));
    assert_eq!((verdict.instances.len(), verdict.freshness), (0, Freshness::Live));
}

#[test]
fn after_a_loss_of_memory_the_missing_are_kept_beside_those_that_came_back() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 7), t0);
    let verdict = guard.observe(answer(1..2, 9), t0 + secs(3));
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Held));
    assert_eq!(guard.suspects().count(), 2, "one is back by the registry's word");
    guard.probed(&instance(3).id, true);
    assert_eq!(guard.tick(t0 + secs(30)).instances, [instance(1), instance(3)]);
    let verdict = guard.observe(answer(1..4, 12), t0 + secs(60));
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Live));
}

#[test]
fn a_registry_that_comes_back_with_a_part_of_its_memory_loses_nobody() {
    let t0 = epoch();
    let mut guard = working(t0);
    let verdict = guard.observe(answer(3..4, 12), t0);
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Held));
}

#[test]
fn an_instance_that_came_back_under_another_id_is_not_kept_twice() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 7), t0);
    let mut reborn = Instance::clone(&instance(1));
    reborn.id = "stock-reborn".parse().expect("valid");
    let verdict = guard.observe(Answer::new(vec![Arc::new(reborn)], 9), t0 + secs(2));
    let ids: Vec<_> = verdict.instances.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["stock-reborn", "stock-2", "stock-3"]);
}

#[test]
fn an_empty_answer_after_the_registry_was_away_is_a_loss_of_memory_whatever_the_index() {
    let t0 = epoch();
    let mut guard = working(t0);
    assert_eq!(guard.lost(t0 + secs(1)).freshness, Freshness::Stale);
    let verdict = guard.observe(answer(0..0, 99), t0 + secs(20));
    assert_eq!((verdict.instances.len(), guard.suspects().count()), (3, 3));
    assert_eq!(guard.confirm_at(), None, "a second answer of that memory proves nothing");
}

#[test]
fn a_registry_that_lists_nobody_any_more_has_lost_its_memory() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 41), t0);
    assert_eq!(guard.suspects().count(), 0);
    guard.observe(answer(0..0, 41).with_witness(Some(false)), t0 + secs(10));
    assert_eq!(guard.suspects().count(), 3);
    guard.probed(&instance(2).id, true);
    assert_eq!(guard.tick(t0 + secs(30)).instances, [instance(2)]);
}

#[test]
fn time_in_which_the_registry_is_away_does_not_empty_a_set() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.observe(answer(0..0, 41), t0);
    guard.lost(t0 + secs(20));
    assert_eq!(guard.deadline(), None);
    assert_eq!(guard.tick(t0 + secs(86_400)).instances.len(), 3);
    let back = t0 + secs(86_400);
    assert_eq!(guard.observe(answer(0..0, 41), back).instances.len(), 3);
    assert_eq!(guard.tick(back + secs(9)).instances.len(), 3, "20 s of doubt are on the account");
    assert_eq!(guard.tick(back + secs(10)).instances.len(), 0);
}

#[test]
fn a_registry_that_comes_and_goes_cannot_hold_a_set_for_ever() {
    let t0 = epoch();
    let mut guard = working(t0);
    let mut now = t0;
    for turn in 0..100 {
        now += secs(5);
        let left = guard.observe(answer(0..0, 41 + turn), now).instances.len();
        if left == 0 {
            return;
        }
        now += secs(5);
        guard.lost(now);
    }
    panic!("500 s of empty answers were not believed");
}

#[test]
fn nothing_is_held_for_ever_and_nothing_is_emptied_early_whatever_comes() {
    let mut rng = fastrand::Rng::with_seed(5);
    for case in 0..2_000 {
        let t0 = epoch();
        let mut guard = working(t0);
        let mut now = t0;
        let mut index = 40;
        // Thirty seconds of any answers but full ones never empty the set without a confirmation.
        while now < t0 + secs(30) {
            let witness = [None, Some(false)][rng.usize(..2)];
            index = if rng.u8(..5) == 0 { rng.u64(1..60) } else { index + rng.u64(..3) };
            let empty = answer(0..0, index).with_witness(witness).with_filtered(rng.bool());
            assert_eq!(guard.observe(empty, now).instances.len(), 3, "case {case}");
            for n in 1..4 {
                guard.probed(&instance(n).id, rng.bool());
            }
            now += Duration::from_millis(rng.u64(1..8_000));
        }
        // Ten minutes of empty answers always do.
        while now < t0 + secs(600) {
            guard.observe(answer(0..0, index), now);
            now += secs(rng.u64(1..60));
        }
        assert_eq!(guard.observe(answer(0..0, index), now).instances.len(), 0, "case {case}");
    }
}

#[test]
fn who_is_missing_after_an_outage_is_kept_while_it_accepts_connections_and_no_longer_than_the_hold()
{
    let t0 = epoch();
    let mut guard = working(t0);
    guard.lost(t0 + secs(1));
    // The counter went on, so nothing says that the memory was lost: two may have left meanwhile.
    let back = t0 + secs(60);
    let verdict = guard.observe(answer(1..2, 41), back);
    assert_eq!((verdict.instances.len(), verdict.freshness), (3, Freshness::Held));
    assert_eq!(guard.suspects().count(), 2);
    guard.probed(&instance(2).id, true);
    guard.probed(&instance(3).id, false);
    let verdict = guard.tick(back);
    assert_eq!(verdict.instances.len(), 2, "whoever refuses connections is gone");
    // A later answer does not end the doubt about the other, and its own return does.
    assert_eq!(guard.observe(answer(1..2, 42), back + secs(1)).instances.len(), 2);
    let mut same = guard.clone();
    let verdict = same.observe(answer(1..3, 43), back + secs(2));
    assert_eq!((verdict.instances.len(), verdict.freshness), (2, Freshness::Live));
    let verdict = guard.tick(back + secs(30));
    assert_eq!((verdict.instances.len(), verdict.freshness), (1, Freshness::Live));
}

#[test]
fn who_is_missing_after_an_outage_and_cannot_be_probed_is_kept_for_ten_seconds() {
    let t0 = epoch();
    let mut guard = working(t0);
    guard.lost(t0);
    guard.observe(answer(1..3, 41), t0);
    assert_eq!(guard.deadline(), Some(t0 + secs(10)));
    assert_eq!(guard.tick(t0 + secs(10) - Duration::from_nanos(1)).instances.len(), 3);
    assert_eq!(guard.tick(t0 + secs(10)).instances.len(), 2);
}
