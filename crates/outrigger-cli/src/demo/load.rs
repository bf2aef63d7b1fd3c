//! The visitors: an open loop of requests at the storefront, at a fixed rate.

use std::sync::Arc;
use std::time::Duration;

use outrigger::Fleet;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::board::{Board, Ending};
use crate::clock;

/// Visitors that may wait at once; beyond it the demo itself is what is slow, and it says so.
const MAX_WAITING: usize = 2_000;

/// Sends `rate` requests a second until dropped or aborted.
///
/// The loop is open: a slow answer does not slow the visitors down, as it would in a closed one,
/// which hides exactly the trouble that is to be seen.
pub(crate) async fn run(visitors: Fleet, board: Arc<Board>, rate: u32) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let mut running = JoinSet::new();
    let mut id: u64 = 0;
    loop {
        ticks.tick().await;
        while running.try_join_next().is_some() {}
        id += 1;
        let Ok(permit) = Arc::clone(&waiting).try_acquire_owned() else {
            board.finished(Ending::Failed("not_sent".to_owned()), Duration::ZERO);
            continue;
        };
        let (visitors, board) = (visitors.clone(), Arc::clone(&board));
        running.spawn(async move {
            let began = clock::now();
            let ending = visit(&visitors, &board, id).await;
            board.finished(ending, clock::now().saturating_duration_since(began));
            drop(permit);
        });
    }
}

/// One visit: the answer must be whole and must be the one that was asked for.
async fn visit(visitors: &Fleet, board: &Board, id: u64) -> Ending {
    let response = match visitors.get(&format!("http://storefront/checkout/{id}")).await {
        Ok(response) => response,
        Err(error) => {
            let class = error.reason().map_or("error", |reason| reason.as_str());
            return Ending::Failed(class.to_owned());
        }
    };
    let status = response.status();
    if status != 200 {
        let ours = response.headers().get("x-outrigger-reason").cloned();
        let reason = ours.as_ref().and_then(|reason| reason.to_str().ok()).map(str::to_owned);
        // Not ours: a service of the demo passed on what it met, and says so.
        let reason = match reason {
            Some(reason) => reason,
            None => match response.into_body().json::<Value>().await {
                Ok(answer) => answer["error"].as_str().unwrap_or("status").to_owned(),
                Err(_) => "status".to_owned(),
            },
        };
        return Ending::Failed(format!("{}_{reason}", status.as_u16()));
    }
    let order = match response.into_body().json::<Value>().await {
        Ok(mut answer) => answer["order"].take(),
        Err(_) => return Ending::Failed("broken_body".to_owned()),
    };
    let stock = &order["stock"];
    if order["id"] != id || stock["on_hand"].is_null() {
        return Ending::Failed("wrong_answer".to_owned());
    }
    // A policy that edits both ways says so in both: a request runs wholly under one version.
    if stock["asked_under"] != stock["answered_under"] {
        return Ending::Failed("two_policies".to_owned());
    }
    if !stock["answered_under"].is_null() {
        board.answered_under_split(stock["served_by"].as_str().unwrap_or_default());
    }
    if order["price"].is_null() { Ending::Degraded } else { Ending::Whole }
}
