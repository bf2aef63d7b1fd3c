//! The loop that keeps a registration true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_core::{Event, InstanceId, RegistrationState};
use outrigger_discovery::{Check, Registration, RegistryError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::payload::{self, Comparison, Standing};
use super::{Shared, Wish};
use crate::Token;
use crate::answer;
use crate::ask::Ask;
use crate::client::Client;
use crate::pace::Backoff;
use crate::wire::Lane;

/// Keeps a registration true: registers, sends heartbeats, looks whether it still stands, and
/// begins again whenever it does not. No error ends it.
pub(super) struct Keeper {
    client: Arc<Client>,
    registration: Registration,
    id: InstanceId,
    boot: Arc<str>,
    shared: Arc<Shared>,
    // A connection of its own: a heartbeat never stands behind a watch.
    lane: Lane,
    token: watch::Receiver<Option<Token>>,
    // Whether we stand under a token that was replaced, and how many were.
    outdated: bool,
    replaced: u32,
    stands: bool,
    // Whether it ever stood: what comes after is a restoration.
    stood: bool,
    // Another process took our place at our own address.
    yielded: bool,
    // The start whose place we took: an agent that comes back without its last minute names it
    // again, and it is not somebody who came after us.
    before: Option<Arc<str>>,
    in_maintenance: bool,
    beat_at: Instant,
    verify_at: Instant,
    backoff: Backoff,
    verified: u32,
}

/// What the last turn came to, for those who wait.
type Turn = Result<(), RegistryError>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Beat<'a> {
    status: &'static str,
    output: &'a str,
}

/// A check as the agent has it, as far as it is looked at.
#[derive(Deserialize)]
struct CheckNow {
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(rename = "Status", default)]
    status: String,
}

impl Keeper {
    pub(super) fn new(
        client: &Arc<Client>,
        registration: Registration,
        id: InstanceId,
        boot: Arc<str>,
        shared: &Arc<Shared>,
    ) -> Self {
        let now = client.now();
        Self {
            lane: client.own_lane(),
            token: client.token.changes(),
            outdated: false,
            replaced: 0,
            client: Arc::clone(client),
            registration,
            id,
            boot,
            shared: Arc::clone(shared),
            stands: false,
            stood: false,
            yielded: false,
            before: None,
            in_maintenance: false,
            beat_at: now,
            verify_at: now,
            backoff: Backoff::default(),
            verified: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut wishes = self.shared.wish.subscribe();
        loop {
            self.note_token();
            let wish = wishes.borrow_and_update().clone();
            let mut turn = self.turn(&wish).await;
            if !wish.gone && self.note_token() {
                // Denied, and taken a moment later under the token that the file held by then: the
                // agent has the wish, and cannot pass it on before we stand under that token.
                turn = self.turn(&wish).await;
            }
            if wish.gone {
                self.end(turn);
                return;
            }
            if let Err(error) = &turn {
                tracing::debug!(instance = %self.id, class = error.class(), %error, "registration");
            }
            self.tell(wish.serial, turn);
            self.pause(&mut wishes).await;
        }
    }

    /// Notes that there is another token, if there is: we no longer stand as we should.
    ///
    /// The agent tells the catalogue about us under the token we registered with. Once that is
    /// gone it takes our heartbeats as before, and nobody hears of them.
    fn note_token(&mut self) -> bool {
        if !self.token.has_changed().unwrap_or(false) {
            return false;
        }
        self.token.mark_unchanged();
        self.replaced = self.replaced.wrapping_add(1);
        (self.stands, self.outdated) = (false, self.stood);
        true
    }

    async fn pause(&mut self, wishes: &mut watch::Receiver<Wish>) {
        let now = self.client.now();
        let due = if self.stands { self.beat_at.min(self.verify_at) } else { self.beat_at };
        let pause = due.saturating_duration_since(now);
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            // The wish's sender lives as long as we do.
            _ = wishes.changed() => {}
            // Noted at the head of the loop, where it is also found when it came meanwhile.
            Ok(()) = self.token.changed() => self.token.mark_changed(),
            // The agent is back, perhaps without its memory: the next heartbeat will tell.
            () = self.client.gate.returned() => {}
        }
    }

    /// Tells those who wait for this wish, or an older one.
    fn tell(&self, serial: u64, turn: Turn) {
        let mut waiters = self.shared.waiters();
        let (done, rest) = waiters.drain(..).partition(|(wanted, _)| *wanted <= serial);
        *waiters = rest;
        drop(waiters);
        let mut done = Vec::into_iter(done);
        let first = done.next();
        for (_, tell) in done {
            let _ = tell.send(again(&turn));
        }
        if let Some((_, tell)) = first {
            let _ = tell.send(turn);
        }
    }

    fn end(self, turn: Turn) {
        if let Err(error) = &turn {
            tracing::warn!(instance = %self.id, class = error.class(), %error, "not taken back");
        }
        self.set(RegistrationState::Deregistered);
        self.tell(u64::MAX, turn);
    }

    fn set(&self, state: RegistrationState) {
        let changed = self.shared.state.send_replace(state) != state;
        if changed || state == RegistrationState::HeartbeatMissed {
            let service = &self.registration.service;
            self.client.config.observers.emit(&Event::Registration { service, state });
        }
        if changed {
            tracing::info!(instance = %self.id, state = state.as_str(), "registration");
        }
    }

    async fn turn(&mut self, wish: &Wish) -> Turn {
        if wish.gone {
            return self.deregister(wish).await;
        }
        let result = self.make_true(wish).await;
        let now = self.client.now();
        match &result {
            Ok(()) => {
                self.backoff.reset();
                self.beat_at = now + self.period();
            }
            Err(_) => {
                // Until it stands, no longer than a heartbeat's period.
                let pause = self.backoff.next_capped(fastrand::f64(), self.period());
                self.beat_at = now + pause.max(Duration::from_millis(250));
                if self.stands {
                    self.set(RegistrationState::HeartbeatMissed);
                }
            }
        }
        result
    }

    async fn make_true(&mut self, wish: &Wish) -> Turn {
        if self.yielded {
            return self.verify().await;
        }
        if !self.stands {
            self.register(wish).await?;
        } else if self.client.now() >= self.verify_at {
            self.verify().await?;
            if !self.stands && !self.yielded {
                self.register(wish).await?;
            }
        }
        if self.yielded {
            return Ok(());
        }
        if !self.beat(wish).await? {
            // The agent was restarted, or somebody took it out.
            self.stands = false;
            self.register(wish).await?;
            self.beat(wish).await?;
        }
        self.maintain(wish).await?;
        // Copied first: setting takes the lock that looking holds.
        let now = *self.shared.state.borrow();
        self.set(match (&wish.maintenance, now) {
            (Some(_), _) => RegistrationState::Maintenance,
            (None, RegistrationState::Restored) => RegistrationState::Restored,
            (None, _) => RegistrationState::Registered,
        });
        Ok(())
    }

    async fn register(&mut self, wish: &Wish) -> Turn {
        if !self.stood {
            self.before =
                self.standing().await.ok().flatten().and_then(|s| s.boot().map(Into::into));
        }
        let body =
            payload::body(&self.registration, &self.id, &self.boot, wish.status, self.replaced);
        let ask = Ask::put("the registration", "/v1/agent/service/register")
            // Otherwise checks of an earlier registration under this id stay, and go critical.
            .param("replace-existing-checks", "true")
            .needs(self.rule())
            .body(body);
        self.client.ask(&self.lane, &ask, self.patience()).await?;
        (self.stands, self.outdated) = (true, false);
        self.in_maintenance = false;
        self.verify_at = self.client.now() + self.client.config.verify_every;
        let state =
            if self.stood { RegistrationState::Restored } else { RegistrationState::Registered };
        self.stood = true;
        self.set(state);
        Ok(())
    }

    /// Sends the heartbeats; false when the agent does not know us.
    async fn beat(&self, wish: &Wish) -> Result<bool, RegistryError> {
        for (n, check) in self.registration.checks.iter().enumerate() {
            if !matches!(check, Check::Ttl { .. }) {
                continue;
            }
            let beat = Beat { status: wish.status.as_str(), output: &wish.note };
            let body = serde_json::to_vec(&beat).expect("two texts are always JSON");
            let ask = Ask::put("a heartbeat", "/v1/agent/check/update")
                .segment(&payload::check_id(&self.id, n))
                .needs(self.rule())
                .may_miss()
                .body(body);
            match self.client.ask(&self.lane, &ask, self.patience()).await {
                Ok(answered) if answered.found => {}
                Ok(_) => return Ok(false),
                Err(RegistryError::Status { text, .. }) if is_unknown(&text) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn maintain(&mut self, wish: &Wish) -> Turn {
        if self.in_maintenance == wish.maintenance.is_some() {
            return Ok(());
        }
        let on = wish.maintenance.is_some();
        let ask = Ask::put("maintenance", "/v1/agent/service/maintenance")
            .segment(self.id.as_str())
            .param("enable", if on { "true" } else { "false" })
            .param_if("reason", wish.maintenance.as_deref().filter(|reason| !reason.is_empty()))
            .needs(self.rule());
        self.client.ask(&self.lane, &ask, self.patience()).await?;
        self.in_maintenance = on;
        Ok(())
    }

    /// Looks whether we stand in the registry as we wrote it.
    async fn verify(&mut self) -> Turn {
        self.verify_at = self.client.now() + self.client.config.verify_every;
        self.verified = self.verified.wrapping_add(1);
        let Some(standing) = self.standing().await? else {
            tracing::warn!(instance = %self.id, "registration lost by the agent");
            (self.stands, self.yielded) = (false, false);
            return Ok(());
        };
        match standing.compare(&self.registration, &self.boot) {
            Comparison::Same => self.yielded = false,
            Comparison::Changed => {
                tracing::warn!(instance = %self.id, "registration changed by somebody else");
                (self.stands, self.yielded) = (false, false);
            }
            Comparison::Other if self.before.as_deref() == standing.boot() => {
                tracing::warn!(instance = %self.id, "an earlier registration is back");
                (self.stands, self.yielded) = (false, false);
            }
            Comparison::Other if self.yielded && self.is_abandoned().await? => {
                tracing::warn!(instance = %self.id, "whoever took over is gone");
                (self.stands, self.yielded) = (false, false);
            }
            Comparison::Other => {
                // Written over by whoever came later at the same address: it serves there now.
                if !self.yielded {
                    tracing::warn!(instance = %self.id, "registration taken over at our address");
                }
                self.yielded = true;
            }
            Comparison::Clashes => {
                let own = format!("{}-{}", self.id, &self.boot[..4.min(self.boot.len())]);
                tracing::error!(instance = %self.id, own, "id used by another process as well");
                if let Ok(own) = InstanceId::new(&own) {
                    self.id = own;
                }
                (self.stands, self.yielded) = (false, false);
            }
        }
        if self.stands && self.verified % 4 == 1 {
            self.verify_catalogue().await;
        }
        Ok(())
    }

    /// What stands under our id, if anything.
    async fn standing(&self) -> Result<Option<Standing>, RegistryError> {
        let ask = Ask::get("our registration", "/v1/agent/service")
            .segment(self.id.as_str())
            .needs(format!("service \"{}\" read", self.registration.service))
            .may_miss();
        let answered = self.client.ask(&self.lane, &ask, self.patience()).await?;
        if !answered.found {
            return Ok(None);
        }
        answer::read(&answered.body).map(Some).map_err(|wrong| unread(&ask, wrong))
    }

    /// Whether nobody keeps alive what stands under our id: a check of it is critical.
    async fn is_abandoned(&self) -> Result<bool, RegistryError> {
        let filter = format!("ServiceID == {:?}", self.id.as_str());
        let ask = Ask::get("the checks of our registration", "/v1/agent/checks")
            .param("filter", &filter)
            .needs(format!("service \"{}\" read", self.registration.service));
        let answered = self.client.ask(&self.lane, &ask, self.patience()).await?;
        let checks: HashMap<String, CheckNow> =
            answer::read(&answered.body).map_err(|wrong| unread(&ask, wrong))?;
        Ok(checks
            .values()
            .any(|check| check.service_id == self.id.as_str() && check.status == "critical"))
    }

    /// The agent may have us, and still not get us into the catalogue: its own token decides.
    async fn verify_catalogue(&self) {
        let filter = format!("ServiceID == {:?}", self.id.as_str());
        let ask = Ask::get("our entry in the catalogue", "/v1/catalog/service")
            .segment(self.registration.service.as_str())
            .param("stale", "")
            .param("filter", &filter)
            .needs(format!("service \"{}\" read", self.registration.service));
        match self.client.ask_plain(&ask).await {
            Ok(answered) if answered.body.trim_ascii() == b"[]" => {
                tracing::warn!(instance = %self.id, "known to the agent, not in the catalogue yet");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(instance = %self.id, %error, "catalogue not asked"),
        }
    }

    async fn deregister(&mut self, wish: &Wish) -> Turn {
        // Another process stands under our id: taking it back would take theirs. And a token that
        // is denied is found out here, while there is still a way back.
        if self.stood && !self.yielded {
            let _ = self.verify().await;
            self.note_token();
        }
        if self.yielded {
            return Ok(());
        }
        if self.outdated {
            // Under a token that is gone the agent would forget us, and the catalogue would not:
            // an instance that passes for ever.
            let _ = self.register(wish).await;
        }
        let ask = Ask::put("taking the registration back", "/v1/agent/service/deregister")
            .segment(self.id.as_str())
            .needs(self.rule())
            .may_miss();
        // Whoever shuts down does not wait long; three tries, then the registry's own time.
        let mut result = Ok(());
        for pause in [100, 400, 0] {
            result = match self.client.ask(&self.lane, &ask, self.patience()).await {
                Ok(_) => Ok(()),
                Err(RegistryError::Status { text, .. }) if is_unknown(&text) => Ok(()),
                Err(error) => Err(error),
            };
            if result.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        result
    }

    fn rule(&self) -> String {
        format!("service \"{}\" write", self.registration.service)
    }

    /// The time between two heartbeats: a third of the time to live, ±10 %.
    fn period(&self) -> Duration {
        let ttl = self.registration.ttl().unwrap_or(Duration::from_secs(30));
        (ttl / 3).mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Time for one question of ours.
    fn patience(&self) -> Duration {
        let ttl = self.registration.ttl().unwrap_or(Duration::from_secs(30));
        (ttl / 3).min(self.client.config.timeout)
    }
}

fn unread(ask: &Ask, wrong: answer::Refused) -> RegistryError {
    RegistryError::Answer { what: ask.what, class: wrong.class, source: wrong.source }
}

/// The same once more, for another who waits: errors with a cause are not `Clone`.
fn again(turn: &Turn) -> Turn {
    match turn {
        Ok(()) => Ok(()),
        Err(RegistryError::Timeout { what, after }) => {
            Err(RegistryError::Timeout { what, after: *after })
        }
        Err(RegistryError::Denied { what, rule }) => {
            Err(RegistryError::Denied { what, rule: rule.clone() })
        }
        Err(RegistryError::UnknownToken { what }) => Err(RegistryError::UnknownToken { what }),
        Err(RegistryError::Status { what, status, text }) => {
            Err(RegistryError::Status { what, status: *status, text: text.clone() })
        }
        Err(RegistryError::Unreachable { registry, source }) => {
            let (registry, source) = (registry.clone(), source.to_string().into());
            Err(RegistryError::Unreachable { registry, source })
        }
        Err(other) => {
            let (what, class) = ("the registration", other.class());
            Err(RegistryError::Answer { what, class, source: None })
        }
    }
}

/// Whether an agent says that it does not know a check or a service of ours: 500 on old ones, 404
/// on new ones.
fn is_unknown(text: &str) -> bool {
    ["does not have associated TTL", "Unknown check ID", "Unknown service ID", "unknown service ID"]
        .iter()
        .any(|words| text.contains(words))
}
