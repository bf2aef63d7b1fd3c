//! What a real Envoy was seen to do, done by the library: each of the 65 scenarios of
//! `envoy/envoy-1.40-observed.json` under a policy that says the same, with endpoints on loopback.
//!
//! What is expected is read out of the file. Where we differ is said in `envoy/verdicts.rs`, and a
//! difference that is none fails, too. `OUTRIGGER_BLESS=1` writes the table of `docs/policy.md`,
//! `OUTRIGGER_SCENARIO=retry` runs those only whose id has this in it.
#![expect(clippy::disallowed_methods, reason = "sockets live on real time")]
#![expect(clippy::print_stdout, reason = "tells which scenarios had to be run again")]

#[path = "envoy/capacity.rs"]
mod capacity;
#[path = "envoy/cases.rs"]
mod cases;
#[path = "envoy/ejection.rs"]
mod ejection;
#[path = "envoy/findings.rs"]
mod findings;
#[path = "envoy/limits.rs"]
mod limits;
#[path = "envoy/replies.rs"]
mod replies;
#[path = "envoy/routing.rs"]
mod routing;
#[path = "envoy/stage.rs"]
mod stage;
#[path = "envoy/table.rs"]
mod table;
#[path = "envoy/verdicts.rs"]
mod verdicts;
#[path = "envoy/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use cases::{Case, cases};
use findings::Findings;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use verdicts::Verdict;

/// How many scenarios run at once: more disturb each other's times.
const AT_ONCE: usize = 6;
/// How often a scenario is run before it counts as failed: it runs on real time, and a busy machine
/// may hold any process up.
const RUNS: usize = 5;

#[test]
fn every_scenario_has_one_verdict() {
    let cases: Vec<String> = cases().into_iter().map(|case| case.id).collect();
    let verdicts: Vec<&str> = verdicts::all().iter().map(|verdict| verdict.id).collect();
    let (observed, judged): (BTreeSet<_>, BTreeSet<_>) =
        (cases.iter().map(String::as_str).collect(), verdicts.iter().copied().collect());
    assert_eq!(observed, judged);
    assert_eq!((cases.len(), verdicts.len()), (observed.len(), judged.len()), "one for each");
    for (id, _) in verdicts::differences() {
        assert!(observed.contains(id), "{id} is no scenario");
    }
    let different: BTreeSet<_> = verdicts::differences().iter().map(|(id, _)| id).collect();
    assert_eq!(different.len(), verdicts::differences().len(), "each is told of once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_does_what_envoy_does_but_where_it_is_said() {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut cases = cases();
    // The longest first.
    cases.sort_by_key(|case| case.id != "outlier-multiplier");
    if let Ok(wanted) = std::env::var("OUTRIGGER_SCENARIO") {
        cases.retain(|case| case.id.contains(&wanted));
    }
    for case in cases {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire().await.expect("open");
            let verdict = verdicts::of(&case.id).expect("a verdict");
            let id = case.id.clone();
            judged(case, verdict).await.map_err(|why| format!("{id}: {why}"))
        });
    }
    let mut wrong = Vec::new();
    while let Some(judged) = running.join_next().await {
        match judged {
            Ok(Ok(())) => {}
            Ok(Err(why)) => wrong.push(why),
            Err(panicked) => wrong.push(panicked.to_string()),
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} scenarios:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs a scenario, and holds what was found against its verdict.
async fn judged(case: Case, verdict: Verdict) -> Result<(), String> {
    let mut last = String::new();
    for run in 1..=RUNS {
        let findings = (verdict.run)(case.clone()).await;
        match against(&case, &verdict, &findings) {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
        println!("{}, run {run}: {last}", case.id);
    }
    Err(last)
}

fn against(case: &Case, verdict: &Verdict, findings: &Findings) -> Result<(), String> {
    let keys = case.keys();
    let unlooked: Vec<&String> = keys.iter().filter(|key| !findings.has_looked_at(key)).collect();
    if !unlooked.is_empty() {
        return Err(format!("nobody looked at {unlooked:?}"));
    }
    let said: BTreeSet<&str> = verdict.differs.iter().map(|(key, _)| *key).collect();
    let differing = findings.differing();
    if differing == said {
        return Ok(());
    }
    Err(format!("differs in {differing:?}, and is said to in {said:?}: {findings:?}"))
}
