//! The chapter in which a policy is changed while the load runs: a service is replaced by another
//! implementation of it, one request in ten, and the answers of both are compared.
//!
//! The demo's fleet has only Rust, so two more instances of the same program stand in for the old
//! service: they are registered as Java, and answer one request in ten a little differently.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::core::PolicyVersion;
use outrigger::{Fleet, MirrorView, ServiceView};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Findings, NowByProgram as _, percent};
use crate::demo::board::Board;
use crate::demo::cast::Cast;
use crate::demo::policies;
use crate::demo::services::{Role, is_planted};

/// How many instances stand in for the old service.
const STAND_INS: usize = 2;

/// A change of policy must be in force in callers within this time.
const IN_FORCE: Duration = Duration::from_secs(1);

/// What the split gives to the old service.
const OLD: f64 = 0.9;

/// Fewer answers than these say nothing about a share.
const ENOUGH: u64 = 100;

/// The split is in force for this long at least, however late it came.
const SHORTEST: Duration = Duration::from_millis(700);

/// The chapter's end, for the way back and for the stand-ins to be forgotten.
const WAY_BACK: Duration = Duration::from_millis(1_500);

/// Time for requests that are under way.
const SETTLE: Duration = Duration::from_millis(100);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long a condition is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn change(
    cast: &mut Cast,
    board: &Arc<Board>,
    ends: Instant,
    findings: &mut Findings,
) -> Result<()> {
    let caller = cast.of(Role::Orders).next().context("no instance of orders")?.fleet.clone();
    cast.start_stand_ins(STAND_INS).await?;
    board.note(format!("{STAND_INS} instances stand in for an inventory service in Java"));
    let addresses: Vec<_> = cast.stand_ins().iter().map(|instance| instance.address).collect();
    // A split to a subset without an instance would refuse nine requests in ten, rightly.
    let all_known = until(PATIENCE, || known(&caller, &addresses) == addresses.len()).await;
    if all_known.is_some() {
        split(cast, board, &caller, ends, findings).await?;
    } else {
        findings.expect(false, || "orders did not hear of the stand-ins".to_owned());
    }
    cast.dismiss_stand_ins();
    // The next chapter is about the last good set; it is to be one of instances that stay.
    let all_gone = until(PATIENCE, || known(&caller, &addresses) == 0).await;
    findings.expect(all_gone.is_some(), || "orders still knows the stand-ins".to_owned());
    sleep_until(ends).await;
    Ok(())
}

/// Has the split in force for a while, and judges what came of it.
async fn split(
    cast: &mut Cast,
    board: &Arc<Board>,
    caller: &Fleet,
    ends: Instant,
    findings: &mut Findings,
) -> Result<()> {
    let (version, applied) = replace(cast, caller, policies::split()).await?;
    board.note(format!("orders splits inventory 90 to 10 (policy {version})"));
    judge_time(findings, "applied_ms", "in force", applied);

    let enough = Instant::now_by_program() + SHORTEST;
    sleep_until(ends.checked_sub(WAY_BACK).unwrap_or(ends).max(enough)).await;
    let mirrors = inventory(caller).map(|view| view.mirrors).unwrap_or_default();
    let shipped = policies::shipped(Role::Inventory).to_owned();
    let (version, back) = replace(cast, caller, shipped).await?;
    board.note(format!("inventory's policy is {version} again"));
    judge_time(findings, "back_ms", "taken back", back);

    // What was under way under the split ends under it, and counts.
    sleep(SETTLE).await;
    judge_share(board, findings);
    judge_mirror(mirrors.first(), findings);
    Ok(())
}

/// How many of these addresses the caller knows.
fn known(caller: &Fleet, addresses: &[SocketAddr]) -> usize {
    let Some(view) = inventory(caller) else { return 0 };
    addresses.iter().filter(|a| view.endpoints.iter().any(|e| e.address == **a)).count()
}

/// Replaces inventory's policy in the registry, and waits until the caller has it in force.
async fn replace(
    cast: &mut Cast,
    caller: &Fleet,
    text: String,
) -> Result<(PolicyVersion, Option<Duration>)> {
    let began = Instant::now_by_program();
    let version = cast.registry.policies().replace(Role::Inventory, text).await?;
    let wanted = version.to_string();
    let obeyed =
        until(PATIENCE, || inventory(caller).is_some_and(|view| view.policy.version == wanted));
    let obeyed = obeyed.await.map(|()| began.elapsed());
    Ok((version, obeyed))
}

/// What the caller knows of inventory.
fn inventory(caller: &Fleet) -> Option<ServiceView> {
    let views = caller.services().into_iter();
    views.into_iter().find(|view| view.service.as_str() == Role::Inventory.as_str())
}

async fn until(patience: Duration, holds: impl Fn() -> bool) -> Option<()> {
    let waiting = async {
        while !holds() {
            sleep(LOOK).await;
        }
    };
    timeout(patience, waiting).await.ok()
}

fn judge_time(findings: &mut Findings, figure: &'static str, what: &str, took: Option<Duration>) {
    let Some(took) = took else {
        findings.expect(false, || format!("the policy was not {what} within {PATIENCE:?}"));
        return;
    };
    findings.measured(format!("{what} after {} ms", took.as_millis()));
    findings.figures.insert(figure, took.as_secs_f64() * 1e3);
    findings.expect(took <= IN_FORCE, || {
        format!("the policy was {what} after {} ms only", took.as_millis())
    });
}

/// Four standard errors of a share that is drawn `n` times: more is not chance.
fn tolerance(n: u64) -> f64 {
    4.0 * (OLD * (1.0 - OLD) / n as f64).sqrt()
}

fn judge_share(board: &Board, findings: &mut Findings) {
    let answers = board.chapter().under_split;
    let is_old = |name: &str| name.starts_with("inventory-stand-in-");
    let all: u64 = answers.values().sum();
    let old: u64 = answers.iter().filter(|(name, _)| is_old(name)).map(|(_, n)| n).sum();
    findings.figures.insert("answers", all as f64);
    findings.expect(all >= ENOUGH, || format!("only {all} answers ran under the split"));
    if all < ENOUGH {
        return;
    }
    let (share, bound) = (old as f64 / all as f64, tolerance(all));
    findings.figures.insert("old_share", share);
    findings.figures.insert("old_share_tolerance", bound);
    findings.measured(format!(
        "{} of {all} answers from the stand-ins for Java (90 % ± {} is chance)",
        percent(share),
        percent(bound),
    ));
    findings.expect((share - OLD).abs() <= bound, || {
        format!("the old service got {} and not 90 %", percent(share))
    });
}

fn judge_mirror(mirror: Option<&MirrorView>, findings: &mut Findings) {
    let Some(mirror) = mirror else {
        findings.expect(false, || "nothing was mirrored".to_owned());
        return;
    };
    let differ = mirror.status + mirror.headers + mirror.body;
    let compared = mirror.same + differ;
    findings.figures.insert("compared", compared as f64);
    findings.figures.insert("different", differ as f64);
    findings.figures.insert("copies_failed", mirror.failed as f64);
    findings.figures.insert("copies_skipped", mirror.skipped as f64);
    findings.measured(format!(
        "{compared} copies compared, {differ} differ, all as planted; {} failed, {} skipped",
        mirror.failed, mirror.skipped
    ));
    findings.expect(compared > 0, || "no copy was compared".to_owned());
    findings.expect(mirror.body > 0, || "no planted difference was found".to_owned());
    findings.expect(mirror.status + mirror.headers == 0, || {
        format!("{} statuses and {} headers differ", mirror.status, mirror.headers)
    });
    let planted =
        |path: &str| path.rsplit('/').next().and_then(|id| id.parse().ok()).is_some_and(is_planted);
    if let Some(other) = mirror.differences.iter().find(|one| !planted(&one.path)) {
        findings.expect(false, || {
            format!("{} {} differs, which was not planted", other.method, other.path)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_the_share_narrows_with_the_answers() {
        assert!((tolerance(100) - 0.12).abs() < 1e-9);
        assert!((tolerance(10_000) - 0.012).abs() < 1e-9);
    }
}
