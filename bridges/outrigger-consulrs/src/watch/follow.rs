//! The loop of blocking queries.

use std::sync::Arc;
use std::time::Duration;

use outrigger_discovery::RegistryError;

use crate::ask::Read;
use crate::client::{Answered, Asked, Client, Following};
use crate::index::next_index;
use crate::pace::{Backoff, Pace};

/// Asks the same question again and again, each time waiting for a change.
///
/// One per (datacenter, question): each has an index of its own.
pub(super) struct Follow {
    client: Arc<Client>,
    asked: Asked,
    read: Read,
    index: u64,
    pace: Pace,
    backoff: Backoff,
    // Whether the last answer came so late that it says nothing about a busy loop.
    waited: bool,
    rested: bool,
    _counted: Following,
}

impl Follow {
    pub(super) fn new(client: &Arc<Client>, asked: Asked, read: Read) -> Self {
        Self {
            client: Arc::clone(client),
            asked,
            // Any server may answer: large fleets melt the leader.
            read: read.param("stale", ""),
            index: 0,
            pace: Pace::new(),
            backoff: Backoff::default(),
            waited: false,
            rested: true,
            _counted: client.follow(),
        }
    }

    /// The next answer, when it is time to ask and the registry has one.
    ///
    /// After each answer comes [`Follow::told`], after each error [`Follow::failed`].
    pub(super) async fn next(&mut self) -> Result<Answered, RegistryError> {
        let client = Arc::clone(&self.client);
        loop {
            self.take_breath().await;
            // The semaphore is never closed.
            let _permit = client.watches.acquire().await.map_err(|_| RegistryError::Ended)?;
            let asked_at = client.now();
            self.pace.spend(asked_at);
            let turn = client.turn();
            let wait = turn.map_or(client.config.wait, |turn| turn.min(client.config.wait));
            let (read, within) = if self.index == 0 {
                (self.read.clone(), client.config.timeout)
            } else {
                let index = self.index.to_string();
                let wait_ms = format!("{}ms", wait.as_millis());
                // The server adds up to a sixteenth; an agent that was stopped accepts the
                // connection and never answers, so this deadline is the only defence.
                let within = wait + wait / 16 + Duration::from_secs(5);
                (self.read.clone().param("index", index).param("wait", wait_ms), within)
            };
            let long = self.index != 0 && turn.is_none();
            let result = tokio::select! {
                result = client.ask(&self.asked, read, within) => result,
                // There are more watches than connections: nobody holds one for minutes.
                () = client.crowded(), if long => continue,
            };
            let elapsed = client.now().saturating_duration_since(asked_at);
            self.waited = elapsed >= wait.mul_f64(0.9) || elapsed >= Duration::from_secs(5);
            return result;
        }
    }

    async fn take_breath(&mut self) {
        if !self.rested {
            self.rested = true;
            tokio::time::sleep(self.backoff.next(fastrand::f64(), Backoff::CAP)).await;
        }
        let now = self.client.now();
        tokio::time::sleep(self.pace.ready_at(now).saturating_duration_since(now)).await;
    }

    /// Notes an answer that was read: the index to wait on next, and whether it told anything new.
    pub(super) fn told(&mut self, index: Option<u64>, news: bool) {
        self.index = next_index(self.index, index);
        self.backoff.reset();
        let waited = std::mem::take(&mut self.waited);
        self.pace.answered(news || waited, self.client.now());
    }

    /// Notes a failure: the agent may have been restarted, so the next question starts anew.
    pub(super) fn failed(&mut self) {
        self.index = 0;
        self.rested = false;
        self.waited = false;
    }
}
