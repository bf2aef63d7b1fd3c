//! Which policy is in force for one service, as it changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{Clock, Event, Observers, PolicyVersion, ServiceName};
use outrigger_discovery::{KeyState, KeyStream, KeyWatcher};
use outrigger_host::{PolicyStore, SavedPolicy};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::choice::{Choice, choose};
use super::files::FileBook;
use super::slot::{Seen, Slot, Word};
use super::text::{Loaded, Reading, Trouble, read};
use super::{DEFAULT, Files, PolicySource};
use crate::destination::folded;

/// Where policies stand in the registry's keys.
const KEYS: &str = "outrigger/policy/";

/// How long the registry has the first word, with something saved and without.
const FIRST_WORD: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// How often a policy that is still in force is saved again, so that it does not grow too old.
const SAVE_AGAIN: Duration = Duration::from_secs(3_600);

/// What a policy is followed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// To call the service.
    Caller,
    /// To be the service: what it accepts must be obeyed too.
    Callee,
}

/// The policy that is in force.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InForce {
    /// `None` where there is none, and settings hold.
    pub(crate) loaded: Option<Arc<Loaded>>,
    pub(crate) source: PolicySource,
    /// Why a newer one, or any, is not in force.
    pub(crate) trouble: Option<Trouble>,
    /// Whether all who decide have spoken, or had their time.
    pub(crate) is_decided: bool,
}

impl InForce {
    fn nothing(is_decided: bool) -> Self {
        Self { loaded: None, source: PolicySource::Settings, trouble: None, is_decided }
    }

    pub(crate) fn version(&self) -> PolicyVersion {
        self.loaded.as_ref().map(|loaded| loaded.version()).unwrap_or_default()
    }
}

/// Where all policies of a process come from.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) files: Option<Files>,
    pub(crate) keys: Option<Arc<dyn KeyWatcher>>,
    pub(crate) store: Option<PolicyStore>,
    pub(crate) observers: Observers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Policies {
    /// Whether a file speaks of this very service.
    pub(crate) fn speaks_of(&self, service: &ServiceName) -> bool {
        self.files.as_ref().is_some_and(|files| files.book().borrow().contains_key(service))
    }
}

/// The policy in force for one service; followed for as long as this lives.
#[derive(Debug)]
pub(crate) struct Followed {
    now: watch::Receiver<InForce>,
    task: Option<AbortHandle>,
}

impl Followed {
    /// The one of now.
    pub(crate) fn now(&self) -> InForce {
        self.now.borrow().clone()
    }

    /// Waits until all who decide have spoken, or had their time: at most a second.
    pub(crate) async fn decided(&self) {
        // Without a sender it was decided from the start.
        let _ = self.now.clone().wait_for(|now| now.is_decided).await;
    }

    /// Every one from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<InForce> {
        self.now.clone()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Policies {
    /// Follows the policy of a service. Blocks for as long as a small file takes.
    pub(crate) fn follow(&self, service: &ServiceName, role: Role) -> Followed {
        if self.files.is_none() && self.keys.is_none() {
            let (_, now) = watch::channel(InForce::nothing(true));
            return Followed { now, task: None };
        }
        let saved = self.saved(service, role);
        let had = |source: PolicySource| {
            saved.as_ref().is_some_and(|(origin, _)| origin == source.as_str())
        };
        let slots = super::choice::PLACES.map(|place| Slot::new(had(place)));
        let (tell, now) = watch::channel(InForce::nothing(false));
        let mut follower = Follower {
            service: service.clone(),
            role,
            slots,
            saved: saved.map(|(_, loaded)| loaded),
            read: [None, None],
            store: self.store.clone(),
            stored: None,
            to_save: None,
            observers: self.observers.clone(),
            clock: Arc::clone(&self.clock),
            tell,
        };
        let files = self.files.as_ref().map(Files::book);
        match &files {
            Some(book) => follower.see_files(&book.borrow()),
            None => follower.see_files(&FileBook::new()),
        }
        let key = |name: &str| self.keys.as_ref()?.watch_key(&format!("{KEYS}{name}")).ok();
        let keys = [key(service.as_str()), key(DEFAULT)];
        for (at, key) in keys.iter().enumerate() {
            if key.is_none() {
                follower.slots[KEY_SLOTS[at]].see(Seen::Absent);
            }
        }
        follower.decide();
        let task = self.runtime.spawn(follower.run(files, keys)).abort_handle();
        Followed { now, task: Some(task) }
    }

    fn saved(&self, service: &ServiceName, role: Role) -> Option<(String, Arc<Loaded>)> {
        let store = self.store.as_ref()?;
        let saved = match store.load(service, self.clock.wall()) {
            Ok(saved) => saved?,
            Err(error) => {
                tracing::warn!(
                    %service,
                    class = error.class(),
                    error = &error as &dyn std::error::Error,
                    "saved policy not used"
                );
                return None;
            }
        };
        let folder = Path::new(&saved.name).parent().unwrap_or_else(|| Path::new("."));
        match read(&saved.name, saved.text.as_bytes(), folder) {
            Ok(Reading::Policy(loaded))
                if role == Role::Caller || loaded.refused_inbound().is_none() =>
            {
                Some((saved.origin, loaded))
            }
            Ok(_) => None,
            Err(trouble) => {
                tracing::warn!(%service, class = trouble.class, %trouble, "saved policy not used");
                None
            }
        }
    }
}

/// Which slots the two keys fill, and the two files.
const KEY_SLOTS: [usize; 2] = [1, 3];
const FILE_SLOTS: [usize; 2] = [0, 2];

struct Follower {
    service: ServiceName,
    role: Role,
    slots: [Slot; 4],
    saved: Option<Arc<Loaded>>,
    /// What the keys held when they were last read, so that nothing is read twice.
    read: [Option<Arc<[u8]>>; 2],
    store: Option<PolicyStore>,
    /// What was saved last.
    stored: Option<Arc<Loaded>>,
    to_save: Option<Box<dyn FnOnce() + Send + Sync>>,
    observers: Observers,
    clock: Arc<dyn Clock>,
    tell: watch::Sender<InForce>,
}

impl Follower {
    async fn run(
        mut self,
        mut files: Option<watch::Receiver<Arc<FileBook>>>,
        [mut own, mut default]: [Option<KeyStream>; 2],
    ) {
        let patience = FIRST_WORD[usize::from(self.saved.is_none())];
        let gives_up = Instant::from_std(self.clock.now()) + patience;
        let mut is_patient = true;
        let mut again = interval(SAVE_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.tick().await;
        let mut saving: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                book = changed(&mut files) => self.see_files(&book),
                state = next(&mut own) => self.see_key(0, state).await,
                state = next(&mut default) => self.see_key(1, state).await,
                () = sleep_until(gives_up), if is_patient => {
                    is_patient = false;
                    self.slots.iter_mut().for_each(Slot::give_up);
                }
                _ = again.tick() => self.stored = None,
                () = finished(&mut saving) => {}
            }
            self.decide();
            if saving.is_none()
                && let Some(save) = self.to_save.take()
            {
                // Elsewhere, since a disk may be slow; one at a time, and the newest only.
                saving = Some(tokio::task::spawn_blocking(save));
            }
        }
    }

    fn see_files(&mut self, book: &FileBook) {
        let words = [self.service.as_str(), DEFAULT].map(|name| book.get(name).cloned());
        for (slot, seen) in FILE_SLOTS.into_iter().zip(words) {
            let seen = seen.unwrap_or(Seen::Absent);
            // That a file is gone is told by the book: one that it does not know never was.
            if matches!(seen, Seen::Absent) {
                self.slots[slot] = Slot::new(false);
            }
            self.see(slot, seen);
        }
    }

    async fn see_key(&mut self, which: usize, state: Arc<KeyState>) {
        let slot = KEY_SLOTS[which];
        if state.is_known {
            match &state.value {
                None => {
                    self.read[which] = None;
                    self.see(slot, Seen::Absent);
                }
                Some(value) if self.read[which].as_ref() == Some(value) => {
                    // The same text, which can be asked for again.
                    if let Word::Says(loaded, Some(_)) = self.slots[slot].word() {
                        let same = Reading::Policy(Arc::clone(loaded));
                        self.slots[slot].see(Seen::Text(same));
                    }
                }
                Some(value) => {
                    self.read[which] = Some(Arc::clone(value));
                    let seen = self.read_key(which, Arc::clone(value)).await;
                    self.see(slot, seen);
                }
            }
        }
        if let Some(class) = state.trouble {
            self.slots[slot].see(Seen::Unheard(Trouble::unheard(class)));
        }
    }

    async fn read_key(&self, which: usize, value: Arc<[u8]>) -> Seen {
        let name = format!("{KEYS}{}", [self.service.as_str(), DEFAULT][which]);
        let reading = {
            let name = name.clone();
            // A certificate may have to be read, and half a megabyte takes its time.
            tokio::task::spawn_blocking(move || read(&name, &value, Path::new("."))).await
        };
        match reading {
            Ok(Ok(Reading::Policy(loaded))) => {
                let told = loaded.plan.service.as_ref().and_then(|told| folded(told.as_str()).ok());
                let is_meant = match which {
                    0 => told.as_ref().is_none_or(|told| *told == self.service),
                    _ => told.is_none(),
                };
                if is_meant {
                    return Seen::Text(Reading::Policy(loaded));
                }
                let told = told.map(|told| told.to_string()).unwrap_or_default();
                let what = format!("{name}: it is the policy of `{told}`");
                Seen::Bad(Trouble::new("other_service", what))
            }
            Ok(Ok(reading)) => Seen::Text(reading),
            Ok(Err(trouble)) => Seen::Bad(trouble),
            Err(_) => Seen::Bad(Trouble::new("unreadable", format!("{name}: reading it failed"))),
        }
    }

    fn see(&mut self, slot: usize, seen: Seen) {
        let seen = match seen {
            Seen::Text(Reading::Policy(loaded)) if self.role == Role::Callee => {
                match loaded.refused_inbound() {
                    Some(trouble) => Seen::Bad(trouble),
                    None => Seen::Text(Reading::Policy(loaded)),
                }
            }
            seen => seen,
        };
        self.slots[slot].see(seen);
    }

    /// Puts into force what the places decide, saves it, and tells of it.
    fn decide(&mut self) {
        let before = self.tell.borrow().clone();
        let has_saved = match before.source {
            PolicySource::Snapshot => true,
            PolicySource::Settings => self.saved.is_some(),
            _ => false,
        };
        let words = self.slots.each_ref().map(Slot::word);
        let after = match choose(words, has_saved) {
            Choice::Wait => return,
            Choice::Use(loaded, source, trouble) => {
                self.saved = None;
                self.store(Some(&loaded), source);
                InForce { loaded: Some(loaded), source, trouble, is_decided: true }
            }
            Choice::Keep(trouble) => {
                let trouble = Some(trouble);
                match self.saved.take() {
                    Some(loaded) => InForce {
                        loaded: Some(loaded),
                        source: PolicySource::Snapshot,
                        trouble,
                        is_decided: true,
                    },
                    None => InForce { trouble, is_decided: true, ..before.clone() },
                }
            }
            Choice::Nothing(trouble) => {
                self.saved = None;
                if trouble.is_none() {
                    self.store(None, PolicySource::Settings);
                }
                InForce { trouble, ..InForce::nothing(true) }
            }
        };
        self.tell_of(&before, &after);
        if before != after {
            self.tell.send_replace(after);
        }
    }

    fn tell_of(&self, before: &InForce, after: &InForce) {
        let service = &self.service;
        let class = |in_force: &InForce| in_force.trouble.as_ref().map(|trouble| trouble.class);
        if before.trouble != after.trouble {
            if let Some(trouble) = &after.trouble {
                tracing::warn!(
                    %service,
                    class = trouble.class,
                    %trouble,
                    in_force = %after.version(),
                    "policy not to be had: what is in force stays"
                );
            } else {
                tracing::info!(%service, in_force = %after.version(), "policy to be had again");
            }
            if let Some(class) = class(after).or_else(|| class(before)) {
                let begins = after.trouble.is_some();
                self.observers.emit(&Event::PolicyTrouble { service, class, begins });
            }
        }
        let is_new = before.loaded != after.loaded || before.source != after.source;
        if is_new || (!before.is_decided && after.loaded.is_some()) {
            let (version, source) = (after.version(), after.source.as_str());
            tracing::info!(%service, %version, source, "policy in force");
            self.observers.emit(&Event::PolicyChanged { service, version, source });
        }
    }

    /// Saves what is in force, or forgets what was.
    fn store(&mut self, loaded: Option<&Arc<Loaded>>, source: PolicySource) {
        let Some(store) = &self.store else { return };
        if loaded.is_some() && self.stored.as_ref() == loaded {
            return;
        }
        self.stored = loaded.cloned();
        let (store, service) = (store.clone(), self.service.clone());
        let policy = loaded.map(|loaded| {
            let now = self.clock.wall();
            SavedPolicy::new(&loaded.name, source.as_str(), &loaded.text, now)
        });
        self.to_save = Some(Box::new(move || {
            let result = match &policy {
                Some(policy) => store.save(&service, policy),
                None => store.forget(&service),
            };
            if let Err(error) = result {
                let class = error.class();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%service, class, error, "policy not saved");
            }
        }));
    }
}

async fn finished(saving: &mut Option<JoinHandle<()>>) {
    match saving {
        Some(running) => {
            // It cannot fail but by the end of the runtime.
            let _ = running.await;
            *saving = None;
        }
        None => std::future::pending().await,
    }
}

/// The files' next word; never, where there are none or nobody looks any more.
async fn changed(files: &mut Option<watch::Receiver<Arc<FileBook>>>) -> Arc<FileBook> {
    if let Some(files) = files
        && files.changed().await.is_ok()
    {
        return Arc::clone(&files.borrow_and_update());
    }
    std::future::pending().await
}

/// The key's next state; never, where there is none or the watcher has ended.
async fn next(key: &mut Option<KeyStream>) -> Arc<KeyState> {
    if let Some(stream) = key {
        match stream.next().await {
            Some(state) => return state,
            None => *key = None,
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
