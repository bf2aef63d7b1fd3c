//! The loop that keeps a registration true.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consulrs::api::check::requests::TtlCheckUpdateRequest;
use consulrs::api::service::requests::{DeregisterServiceRequest, EnableMaintenanceRequest};
use outrigger_core::{Event, InstanceId, RegistrationState};
use outrigger_discovery::{Check, Registration, RegistryError};
use tokio::sync::watch;

use super::payload::{self, Comparison, Standing};
use super::{Shared, Wish};
use crate::ask::{Read, With};
use crate::client::{Asked, Client};
use crate::pace::Backoff;

/// Keeps a registration true: registers, sends heartbeats, looks whether it still stands, and
/// begins again whenever it does not. No error ends it, and no panic of consulrs does.
pub(super) struct Keeper {
    client: Arc<Client>,
    registration: Registration,
    id: InstanceId,
    boot: Arc<str>,
    shared: Arc<Shared>,
    stands: bool,
    // Whether it ever stood: what comes after is a restoration.
    stood: bool,
    // Another process took our place at our own address.
    yielded: bool,
    in_maintenance: bool,
    beat_at: Instant,
    verify_at: Instant,
    backoff: Backoff,
}

/// What the last turn came to, for those who wait.
type Turn = Result<(), RegistryError>;

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
            client: Arc::clone(client),
            registration,
            id,
            boot,
            shared: Arc::clone(shared),
            stands: false,
            stood: false,
            yielded: false,
            in_maintenance: false,
            beat_at: now,
            verify_at: now,
            backoff: Backoff::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut wishes = self.shared.wish.subscribe();
        loop {
            let wish = wishes.borrow_and_update().clone();
            let turn = self.turn(&wish).await;
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

    async fn pause(&self, wishes: &mut watch::Receiver<Wish>) {
        let due = if self.stands { self.beat_at.min(self.verify_at) } else { self.beat_at };
        let pause = due.saturating_duration_since(self.client.now());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The wish's sender lives as long as we do.
            _ = wishes.changed() => {}
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
            return self.deregister().await;
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
                let pause = self.backoff.next(fastrand::f64(), self.period());
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
        let request = payload::request(&self.registration, &self.id, &self.boot, wish.status);
        // Otherwise checks of an earlier registration under this id stay, and go critical.
        let request = With::new(request, "replace-existing-checks", "true");
        self.client.ask(&self.asked("the registration"), request, self.patience()).await?;
        self.stands = true;
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
            let request = TtlCheckUpdateRequest {
                check: payload::check_id(&self.id, n),
                status: Some(wish.status.as_str().to_owned()),
                output: Some(wish.note.clone()),
                ..TtlCheckUpdateRequest::default()
            };
            let asked = self.asked("a heartbeat").may_miss();
            match self.client.ask(&asked, request, self.patience()).await {
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
        let request = EnableMaintenanceRequest {
            id: self.id.to_string(),
            enable: wish.maintenance.is_some(),
            ..EnableMaintenanceRequest::default()
        };
        let request = With::new(request, "reason", wish.maintenance.clone().unwrap_or_default());
        self.client.ask(&self.asked("maintenance"), request, self.patience()).await?;
        self.in_maintenance = wish.maintenance.is_some();
        Ok(())
    }

    /// Looks whether we stand in the registry as we wrote it.
    async fn verify(&mut self) -> Turn {
        self.verify_at = self.client.now() + self.client.config.verify_every;
        let what = "our registration";
        let rule = format!("service \"{}\" read", self.registration.service);
        let asked = Asked::new(what, rule).may_miss();
        let read = Read::new(format!("agent/service/{}", self.id));
        let answered = self.client.ask(&asked, read, self.patience()).await?;
        if !answered.found {
            tracing::warn!(instance = %self.id, "registration lost by the agent");
            (self.stands, self.yielded) = (false, false);
            return Ok(());
        }
        let standing: Standing = serde_json::from_slice(&answered.body).map_err(|error| {
            RegistryError::Answer { what, class: "wrong_type", source: Some(error.into()) }
        })?;
        match standing.compare(&self.registration, &self.boot) {
            Comparison::Same => self.yielded = false,
            Comparison::Changed => {
                tracing::warn!(instance = %self.id, "registration changed by somebody else");
                (self.stands, self.yielded) = (false, false);
            }
            Comparison::Replaced => {
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
        Ok(())
    }

    async fn deregister(&mut self) -> Turn {
        // Another process stands under our id: taking it back would take theirs.
        if self.stands && !self.yielded {
            let _ = self.verify().await;
        }
        if self.yielded {
            return Ok(());
        }
        let asked = self.asked("taking the registration back").may_miss();
        // Whoever shuts down does not wait long; three tries, then the registry's own time.
        let mut result = Ok(());
        for pause in [100, 400, 0] {
            let request = DeregisterServiceRequest {
                id: self.id.to_string(),
                ..DeregisterServiceRequest::default()
            };
            result = match self.client.ask(&asked, request, self.patience()).await {
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

    fn asked(&self, what: &'static str) -> Asked {
        Asked::new(what, format!("service \"{}\" write", self.registration.service))
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
