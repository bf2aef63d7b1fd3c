//! Where instances are announced.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{InstanceId, RegistrationState, Status};

use crate::{Registration, RegistryError};

/// A boxed future: these traits are dyn-compatible and off the request path.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Announces instances.
pub trait Registrar: fmt::Debug + Send + Sync {
    /// Starts to announce an instance, and keeps it announced until the handle says otherwise.
    ///
    /// Shape: answers as soon as the registration is known to be valid and the keeping has begun,
    /// not when the registry has it: a service must be able to start while its registry is away.
    /// [`Registered::settled`] waits for the registry.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`]; trouble with the registry is never an error here, it is retried
    /// for ever.
    ///
    /// # Cancel safety
    /// Dropped before it answers, nothing stays announced.
    fn register(
        &self,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegistryError>>;
}

/// One announced instance, as its adapter keeps it; callers hold it in a [`Registered`].
pub trait Announcement: fmt::Debug + Send + Sync {
    /// Its id, made up by the registrar when the registration had none.
    fn id(&self) -> &InstanceId;

    /// What became of it last.
    fn state(&self) -> RegistrationState;

    /// Waits until the registry has it, or it has been taken back.
    fn settled(&self) -> BoxFuture<'_, ()>;

    /// What the next heartbeats say, until told otherwise; passing at the start.
    fn report(&self, status: Status, note: &str) -> BoxFuture<'_, Result<(), RegistryError>>;

    /// Takes it out of the traffic, or back in, without taking it back.
    fn maintenance(&self, on: bool, reason: &str) -> BoxFuture<'_, Result<(), RegistryError>>;

    /// Takes it back and ends the heartbeats.
    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>>;

    /// Takes it back and waits `notice`, so that callers have heard of it.
    fn drain(&self, notice: Duration) -> BoxFuture<'_, Result<(), RegistryError>>;

    /// The handle was dropped without a word: takes it back without anybody waiting, and logs it.
    fn abandon(&self);
}

/// The handle of one announced instance.
///
/// While it lives, the instance is kept announced: heartbeats, and a new registration whenever the
/// registry has lost it. Dropping it without [`Registered::deregister`] or [`Registered::drain`]
/// takes the instance back in the background and logs a warning; when the runtime ends at the same
/// moment that may not get through, and the registry removes the instance after
/// `deregister_critical_after`.
#[must_use = "dropping the handle takes the instance back"]
pub struct Registered {
    announcement: Option<Arc<dyn Announcement>>,
}

impl Registered {
    /// Wraps an adapter's announcement.
    pub fn new(announcement: Arc<dyn Announcement>) -> Self {
        Self { announcement: Some(announcement) }
    }

    fn inner(&self) -> &Arc<dyn Announcement> {
        self.announcement.as_ref().expect("only `drop` and the consuming methods take it")
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        self.inner().id()
    }

    /// What became of it last.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.inner().state()
    }

    /// Waits until the registry has it, or it has been taken back.
    ///
    /// # Cancel safety
    /// Safe: waiting changes nothing.
    pub async fn settled(&self) {
        self.inner().settled().await;
    }

    /// Sets what the heartbeats say, until told otherwise; passing at the start.
    ///
    /// # Errors
    /// When the registry cannot be told now; the next heartbeat says it again.
    ///
    /// # Cancel safety
    /// Safe: what is to be said is kept before anything is sent.
    pub async fn report(&self, status: Status, note: &str) -> Result<(), RegistryError> {
        self.inner().report(status, note).await
    }

    /// Takes the instance out of the traffic, or back in, without taking it back.
    ///
    /// # Errors
    /// When the registry cannot be told now; it is told as soon as it can be reached again.
    ///
    /// # Cancel safety
    /// Safe: the wish is kept before anything is sent.
    pub async fn maintenance(&self, on: bool, reason: &str) -> Result<(), RegistryError> {
        self.inner().maintenance(on, reason).await
    }

    /// Takes the instance back.
    ///
    /// # Errors
    /// When the registry cannot be told: it then removes the instance by itself after
    /// `deregister_critical_after`.
    ///
    /// # Cancel safety
    /// Dropped half-way, the instance is taken back in the background.
    pub async fn deregister(mut self) -> Result<(), RegistryError> {
        let result = self.inner().deregister().await;
        self.announcement = None;
        result
    }

    /// The first half of an ordered end: takes the instance back and waits `notice`, so that
    /// callers have heard of it. After that stop accepting, finish what is in flight, and exit.
    ///
    /// # Errors
    /// As [`Registered::deregister`]; `notice` is waited for all the same.
    ///
    /// # Cancel safety
    /// Dropped half-way, the instance is taken back in the background.
    pub async fn drain(mut self, notice: Duration) -> Result<(), RegistryError> {
        let result = self.inner().drain(notice).await;
        self.announcement = None;
        result
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(announcement) = self.announcement.take() {
            announcement.abandon();
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.inner(), f)
    }
}
