//! Keeps one registration in the registry.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_core::{InstanceId, RegistrationState, Status};
use outrigger_discovery::{Announcement, BoxFuture, Registration, RegistryError};
use tokio::sync::{oneshot, watch};

use crate::client::Client;

mod identity;
mod keeper;
mod payload;

pub(crate) use identity::boot_nonce;

/// What the caller wants to be true.
#[derive(Clone, Debug)]
struct Wish {
    status: Status,
    note: String,
    maintenance: Option<String>,
    gone: bool,
    // Rises with every change, so that the keeper sees one that came while it was busy.
    serial: u64,
}

/// Somebody who waits until a wish was tried, and what came of it.
type Waiter = (u64, oneshot::Sender<Result<(), RegistryError>>);

struct Shared {
    wish: watch::Sender<Wish>,
    waiters: Mutex<Vec<Waiter>>,
    state: watch::Sender<RegistrationState>,
}

impl Shared {
    fn waiters(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One announced instance: the wishes of its holder. The keeper makes them true.
pub(crate) struct Announced {
    id: InstanceId,
    shared: Arc<Shared>,
    client: Arc<Client>,
}

impl Announced {
    /// Starts to keep a registration that is valid.
    pub(crate) fn start(client: &Arc<Client>, registration: Registration, boot: Arc<str>) -> Self {
        let id = registration.id.clone().unwrap_or_else(|| identity::instance_id(&registration));
        let wish = Wish {
            status: Status::Passing,
            note: String::new(),
            maintenance: None,
            gone: false,
            serial: 0,
        };
        let shared = Arc::new(Shared {
            wish: watch::Sender::new(wish),
            waiters: Mutex::default(),
            state: watch::Sender::new(RegistrationState::Pending),
        });
        let keeper = keeper::Keeper::new(client, registration, id.clone(), boot, &shared);
        client.runtime.spawn(keeper.run());
        Self { id, shared, client: Arc::clone(client) }
    }

    /// Changes the wish; what is given back waits until the keeper has tried it once.
    fn want(
        &self,
        change: impl FnOnce(&mut Wish),
    ) -> Result<oneshot::Receiver<Result<(), RegistryError>>, RegistryError> {
        let (tell, told) = oneshot::channel();
        // The waiter is there before the wish can be seen.
        let mut waiters = self.shared.waiters();
        if self.shared.wish.borrow().gone {
            return Err(RegistryError::Ended);
        }
        self.shared.wish.send_modify(|wish| {
            change(wish);
            wish.serial += 1;
            waiters.push((wish.serial, tell));
        });
        Ok(told)
    }

    /// The same, waited for. The wish is kept at once, not when this is first polled.
    fn wanted(&self, change: impl FnOnce(&mut Wish)) -> BoxFuture<'_, Result<(), RegistryError>> {
        let told = self.want(change);
        Box::pin(async move { told?.await.unwrap_or(Err(RegistryError::Ended)) })
    }
}

impl Announcement for Announced {
    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn state(&self) -> RegistrationState {
        *self.shared.state.borrow()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        let mut state = self.shared.state.subscribe();
        Box::pin(async move {
            // An error means that the keeper has ended: nothing more is to be waited for.
            let _ = state.wait_for(|state| *state != RegistrationState::Pending).await;
        })
    }

    fn report(&self, status: Status, note: &str) -> BoxFuture<'_, Result<(), RegistryError>> {
        let note: String = note.chars().filter(|c| !c.is_control()).take(512).collect();
        self.wanted(move |wish| {
            wish.status = status;
            wish.note = note;
        })
    }

    fn maintenance(&self, on: bool, reason: &str) -> BoxFuture<'_, Result<(), RegistryError>> {
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(256).collect();
        self.wanted(move |wish| wish.maintenance = on.then_some(reason))
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        self.wanted(|wish| wish.gone = true)
    }

    fn drain(&self, notice: Duration) -> BoxFuture<'_, Result<(), RegistryError>> {
        let taken_back = self.deregister();
        Box::pin(async move {
            let result = taken_back.await;
            // Watchers hear of it within this time; until then requests still arrive.
            tokio::time::sleep(notice).await;
            result
        })
    }

    fn abandon(&self) {
        if self.shared.wish.borrow().gone {
            return;
        }
        tracing::warn!(instance = %self.id, "registration dropped: taken back in the background");
        self.shared.wish.send_modify(|wish| {
            wish.gone = true;
            wish.serial += 1;
        });
    }
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced")
            .field("id", &self.id)
            .field("state", &*self.shared.state.borrow())
            .field("registry", &self.client)
            .finish()
    }
}
