//! The loop of blocking queries.

use std::sync::Arc;
use std::time::Duration;

use outrigger_discovery::RegistryError;
use tokio::sync::watch;

use crate::Token;
use crate::ask::Ask;
use crate::client::{Answered, Client, Following};
use crate::index::next_index;
use crate::pace::{Backoff, Pace};

/// Asks the same question again and again, each time waiting for a change.
///
/// One per (datacenter, question): each has an index of its own.
#[derive(Debug)]
pub(crate) struct Follow {
    client: Arc<Client>,
    ask: Ask,
    // Kept between questions: a token that is replaced meanwhile is not missed.
    token: watch::Receiver<Option<Token>>,
    index: u64,
    // The newest connection when the index was told.
    born: u64,
    pace: Pace,
    backoff: Backoff,
    // Whether the last answer came so late that it says nothing about a busy loop.
    waited: bool,
    rested: bool,
    stale: bool,
    // Whether the last answer was too old: a newer one is looked for soon.
    aged: bool,
    // When the leader was last asked because a server was too far behind.
    leader_asked: Option<std::time::Instant>,
    _counted: Following,
}

/// One answer of the loop.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) answered: Answered,
    /// Whether the answering server is further behind than allowed, or knows no leader.
    pub(crate) aged: bool,
}

impl Follow {
    pub(crate) fn new(client: &Arc<Client>, ask: Ask) -> Self {
        Self {
            client: Arc::clone(client),
            ask,
            token: client.token.changes(),
            index: 0,
            born: 0,
            pace: Pace::new(),
            backoff: Backoff::default(),
            waited: false,
            rested: true,
            stale: client.config.stale,
            aged: false,
            leader_asked: None,
            _counted: client.follow(),
        }
    }

    /// The next answer, when it is time to ask and the registry has one.
    ///
    /// After each answer comes [`Follow::told`], after each error [`Follow::failed`].
    pub(crate) async fn next(&mut self) -> Result<Followed, RegistryError> {
        let client = Arc::clone(&self.client);
        loop {
            self.take_breath().await;
            let permit = client.watches.admit().await;
            self.pace.spend(client.now());
            let connection = client.connect(&client.watches, &self.ask).await?;
            if connection.born > self.born {
                // An index is worth nothing to an agent that was restarted without our noticing,
                // between two questions: it would sleep until its own counter is as high.
                self.index = 0;
            }
            if self.token.has_changed().unwrap_or(false) {
                self.renew();
            }
            let asked_at = client.now();
            let (ask, wait) = self.question();
            // The server adds up to a sixteenth; an agent that was stopped accepts the connection
            // and never answers, so this deadline is the only defence.
            let within = if self.index == 0 {
                client.config.timeout
            } else {
                wait + wait / 16 + Duration::from_secs(5)
            };
            let long = self.index != 0 && client.turn().is_none();
            let result = tokio::select! {
                biased;
                result = client.ask_over(&client.watches, permit, connection, &ask, within) => result,
                Ok(()) = self.token.changed() => {
                    self.renew();
                    continue;
                }
                () = client.crowded(), if long => continue,
                // Somebody else found the agent gone and back: our question may have died with it,
                // or on the way, and nobody would tell us before the whole wait is over.
                () = client.gate.returned() => {
                    self.index = 0;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..250))).await;
                    continue;
                }
            };
            self.born = client.watches.newest();
            let elapsed = client.now().saturating_duration_since(asked_at);
            self.waited = elapsed >= wait.mul_f64(0.9) || elapsed >= Duration::from_secs(5);
            match result {
                Ok(answered) => {
                    let followed = self.weigh(answered).await;
                    self.aged = followed.aged;
                    return Ok(followed);
                }
                Err(RegistryError::Status { status: 500..=599, .. }) if !self.stale => {
                    // No leader, perhaps: any server may answer until there is one.
                    (self.stale, self.index) = (true, 0);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn question(&self) -> (Ask, Duration) {
        let config = &self.client.config;
        let wait = self.client.turn().map_or(config.wait, |turn| turn.min(config.wait));
        let wait = if self.aged { wait.min(Duration::from_secs(5)) } else { wait };
        let mut ask = self.ask.clone();
        if self.stale {
            ask = ask.param("stale", "");
        }
        if self.index == 0 {
            return (ask, wait);
        }
        let index = self.index.to_string();
        (ask.param("index", &index).param("wait", &format!("{}ms", wait.as_millis())), wait)
    }

    // Begins anew under another token. Held under the old one, this watch would not be woken by
    // what the new one may see; and what the old one was refused says nothing about the new one.
    fn renew(&mut self) {
        self.token.mark_unchanged();
        (self.index, self.pace, self.rested) = (0, Pace::new(), true);
        self.backoff.reset();
    }

    // Waits until the pace allows the next question, or another token makes it urgent.
    async fn take_breath(&mut self) {
        let client = Arc::clone(&self.client);
        if !self.rested {
            self.rested = true;
            let pause = self.backoff.next(fastrand::f64());
            // While the agent is away, its return wakes us: asking on our own would only be load.
            let pause = if client.gate.is_up() { pause } else { Duration::from_secs(30) };
            tokio::select! {
                biased;
                () = client.gate.rest(pause) => {}
                Ok(()) = self.token.changed() => self.renew(),
            }
        }
        let now = client.now();
        let pause = self.pace.ready_at(now).saturating_duration_since(now);
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.token.changed() => self.renew(),
            }
        }
    }

    async fn weigh(&mut self, answered: Answered) -> Followed {
        const LEADER_AGAIN: Duration = Duration::from_secs(30);
        let config = &self.client.config;
        let told = answered.told;
        let behind = u128::from(told.last_contact_ms) > config.max_stale.as_millis();
        let aged = self.stale && (behind || !told.known_leader);
        let now = self.client.now();
        let tried =
            self.leader_asked.is_some_and(|at| now.saturating_duration_since(at) < LEADER_AGAIN);
        if !aged || tried {
            if !aged && self.stale != config.stale {
                self.stale = config.stale;
            }
            return Followed { answered, aged };
        }
        // Too far behind: the leader is asked, and where there is none the old answer is taken.
        self.leader_asked = Some(now);
        match self.client.ask_plain(&self.ask).await {
            Ok(fresh) => Followed { answered: fresh, aged: false },
            Err(_) => Followed { answered, aged },
        }
    }

    /// Notes an answer that was read: the index to wait on next, and whether it told anything new.
    pub(crate) fn told(&mut self, index: Option<u64>, news: bool) {
        self.index = next_index(self.index, index);
        self.backoff.reset();
        let waited = std::mem::take(&mut self.waited);
        self.pace.answered(news || waited, self.client.now());
    }

    /// Notes a failure: the agent may have been restarted, so the next question starts anew.
    pub(crate) fn failed(&mut self) {
        self.index = 0;
        self.rested = false;
        self.waited = false;
    }
}
