//! Plays the script: makes the trouble of each chapter, waits, and judges the promise.

mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use super::board::{Board, Tally};
use super::cast::Cast;
use super::instance::Instance;
use super::report::ChapterReport;
use super::script::{Act, Chapter};
use super::services::Role;

/// A slow instance's added time.
const SLOW_BY: Duration = Duration::from_millis(400);

/// What was measured in a chapter beyond the requests, and what is wrong with it.
#[derive(Debug, Default)]
struct Findings {
    measured: Vec<String>,
    figures: BTreeMap<&'static str, f64>,
    wrong: Vec<String>,
}

impl Findings {
    fn measured(&mut self, text: impl Into<String>) {
        self.measured.push(text.into());
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }
}

/// Plays one chapter; returns when its time is over.
pub(crate) async fn play(
    chapter: &'static Chapter,
    span: Duration,
    cast: &mut Cast,
    board: &Arc<Board>,
) -> Result<ChapterReport> {
    board.turn_page();
    board.note(format!("chapter “{}”: {}", chapter.name, chapter.title));
    let ends = Instant::now_by_program() + span;
    let mut findings = Findings::default();
    match chapter.act {
        Act::Calm => calm(cast, board, ends, &mut findings).await,
        Act::Kill => kill(cast, board, ends, &mut findings).await?,
        Act::Slow => slow(cast, board, ends, span, &mut findings).await?,
        Act::Fail => fail(cast, board, ends, span, &mut findings).await?,
        Act::FailAll => fail_all(cast, board, ends, span, &mut findings).await,
        Act::ChangePolicy => policy::change(cast, board, ends, &mut findings).await?,
        Act::RegistryGone => registry_gone(cast, board, ends, span, &mut findings).await?,
        Act::RollingRestart => rolling_restart(cast, board, ends, span, &mut findings).await?,
    }
    let tally = board.chapter();
    Ok(judge(chapter, tally, findings))
}

fn judge(chapter: &Chapter, tally: Tally, mut findings: Findings) -> ChapterReport {
    findings.expect(tally.requests > 0, || "not one request was made".to_owned());
    findings.expect(tally.failed == 0, || {
        let classes: Vec<String> =
            tally.failed_by_class.iter().map(|(class, n)| format!("{n} × {class}")).collect();
        format!("{} failed: {}", tally.failed, classes.join(", "))
    });
    // Only the chapter that breaks all of pricing may cost an answer its price.
    findings.expect(tally.degraded == 0 || chapter.act == Act::FailAll, || {
        format!("{} answers came without a price", tally.degraded)
    });
    if tally.slow > 0 {
        findings.measured(format!("{} took over a second", tally.slow));
    }
    if tally.degraded > 0 {
        findings.measured(format!("{} came without a price", tally.degraded));
    }
    ChapterReport {
        name: chapter.name,
        promise: chapter.promise,
        kept: findings.wrong.is_empty(),
        requests: tally.requests,
        failed: tally.failed,
        degraded: tally.degraded,
        measured: findings.measured.join("; "),
        figures: findings.figures,
        broken_because: findings.wrong,
    }
}

/// Tries that orders made at each of `instances` since `before`.
fn tries(cast: &Cast, board: &Board, role: Role) -> Vec<(String, u64)> {
    let count =
        |instance: &Instance| board.tries(Role::Orders.as_str(), role.as_str(), instance.address).0;
    cast.of(role).map(|instance| (instance.name.clone(), count(instance))).collect()
}

/// The share of each instance in the tries made since `before`.
fn shares(before: &[(String, u64)], after: &[(String, u64)]) -> Vec<(String, f64)> {
    let gained: Vec<(String, u64)> = after
        .iter()
        .map(|(name, now)| {
            let then = before.iter().find(|(n, _)| n == name).map_or(0, |(_, then)| *then);
            (name.clone(), now.saturating_sub(then))
        })
        .collect();
    let all: u64 = gained.iter().map(|(_, n)| n).sum();
    gained.into_iter().map(|(name, n)| (name, n as f64 / all.max(1) as f64)).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

async fn calm(cast: &mut Cast, board: &Arc<Board>, ends: Instant, findings: &mut Findings) {
    let before = tries(cast, board, Role::Inventory);
    sleep_until(ends).await;
    let shares = shares(&before, &tries(cast, board, Role::Inventory));
    let listed: Vec<String> =
        shares.iter().map(|(name, share)| format!("{name} {}", percent(*share))).collect();
    findings.measured(listed.join(", "));
    for (name, share) in &shares {
        findings.expect(*share > 0.15, || format!("{name} got only {}", percent(*share)));
    }
}

async fn kill(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    findings: &mut Findings,
) -> Result<()> {
    let victim = cast.take(Role::Inventory).context("no inventory instance to kill")?;
    let (name, address) = (victim.name.clone(), victim.address);
    let tried = || board.tries(Role::Orders.as_str(), Role::Inventory.as_str(), address);
    board.note(format!("{name} is killed"));
    victim.kill().await;
    let before = tried();
    sleep_until(ends).await;
    let after = tried();
    let (reached, failed) = (after.0 - before.0, after.1 - before.1);
    findings.measured(format!(
        "{reached} more tries went to {name}, {failed} of them failed and were made good"
    ));
    findings.expect(reached <= 100, || format!("{reached} tries went to a killed instance"));
    cast.replace(Role::Inventory).await
}

async fn slow(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    span: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let victim = cast.of(Role::Inventory).next().context("no inventory instance to slow down")?;
    let name = victim.name.clone();
    board.note(format!("{name} takes {} ms more for each answer", SLOW_BY.as_millis()));
    victim.knobs.set_delay(SLOW_BY);
    // It takes a second or so to be believed: a single slow answer must not move the traffic.
    sleep(span / 2).await;
    let before = tries(cast, board, Role::Inventory);
    sleep_until(ends).await;
    let shares = shares(&before, &tries(cast, board, Role::Inventory));
    let share = shares.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, share)| *share);
    findings.measured(format!("{name} got {} of the traffic", percent(share)));
    findings.expect(share < 0.10, || format!("{name} still got {}", percent(share)));
    for instance in cast.of(Role::Inventory).filter(|instance| instance.name == name) {
        instance.knobs.set_delay(Duration::ZERO);
    }
    Ok(())
}

async fn fail(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    span: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let victim = cast.of(Role::Pricing).next().context("no pricing instance to break")?;
    let (name, knobs) = (victim.name.clone(), Arc::clone(&victim.knobs));
    let ejections = board.figures().ejections;
    board.note(format!("{name} answers 500 to everything"));
    knobs.set_status(Some(StatusCode::INTERNAL_SERVER_ERROR));
    sleep(span * 2 / 3).await;
    knobs.set_status(None);
    sleep_until(ends).await;
    let ejected = board.figures().ejections - ejections;
    findings.measured(format!("{ejected} ejections"));
    findings.expect(ejected > 0, || format!("{name} was never ejected"));
    Ok(())
}

async fn fail_all(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    span: Duration,
    findings: &mut Findings,
) {
    let before = board.figures().transitions.len();
    board.note("every pricing instance answers 500");
    for instance in cast.of(Role::Pricing) {
        instance.knobs.set_status(Some(StatusCode::INTERNAL_SERVER_ERROR));
    }
    sleep(span * 2 / 5).await;
    board.note("pricing has recovered");
    for instance in cast.of(Role::Pricing) {
        instance.knobs.set_status(None);
    }
    sleep_until(ends).await;
    let transitions = board.figures().transitions;
    let ours = &transitions[before..];
    findings.measured(format!("{} circuit changes", ours.len()));
    findings.expect(ours.iter().any(|t| t.to == "open"), || "the circuit never opened".to_owned());
    findings.expect(ours.last().is_some_and(|t| t.to == "closed"), || {
        "the circuit did not close after recovery".to_owned()
    });
}

async fn registry_gone(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    span: Duration,
    findings: &mut Findings,
) -> Result<()> {
    board.note("the registry is gone");
    cast.registry.take_away();
    sleep(span / 2).await;
    let lost = board.figures().registry.connected;
    findings.expect(!lost, || "nobody noticed that the registry was gone".to_owned());
    cast.registry.bring_back().await?;
    board.note(if cast.registry.forgets() {
        "the registry is back, and has forgotten everything"
    } else {
        "the registry can be reached again"
    });
    let back = Instant::now_by_program();
    let patience = Duration::from_secs(10).max(span);
    let all = cast.wait_until_registered(patience).await;
    let took = back.elapsed();
    findings
        .measured(format!("every instance registered again within {:.1} s", took.as_secs_f64()));
    findings.expect(all, || "an instance did not register again".to_owned());
    sleep_until(ends).await;
    Ok(())
}

async fn rolling_restart(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    span: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let began = Instant::now_by_program();
    let roles = [Role::Inventory, Role::Pricing, Role::Orders, Role::Storefront];
    let total: usize = roles.iter().map(|role| cast.of(*role).count()).sum();
    let step = span * 3 / 5 / u32::try_from(total.max(1)).unwrap_or(1);
    // The next one starts while the one before still says goodbye to its callers.
    let mut leaving = tokio::task::JoinSet::new();
    for role in roles {
        for _ in 0..cast.of(role).count() {
            let next = Instant::now_by_program() + step;
            let old = cast.take(role).context("an instance to restart")?;
            cast.replace(role).await?;
            board.note(format!("{} is restarted", old.name));
            leaving.spawn(old.drain());
            sleep_until(next).await;
        }
    }
    leaving.join_all().await;
    findings.measured(format!("{total} instances in {:.1} s", began.elapsed().as_secs_f64()));
    sleep_until(ends).await;
    Ok(())
}

/// `tokio::time::Instant`, read by a program.
trait NowByProgram {
    fn now_by_program() -> Self;
}

impl NowByProgram for Instant {
    fn now_by_program() -> Self {
        Self::from_std(crate::clock::now())
    }
}
