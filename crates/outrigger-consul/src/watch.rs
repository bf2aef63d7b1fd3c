//! Watches that are shared: one per (datacenter, subject) and process.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;
use outrigger_discovery::{Feed, Subscription};
use tokio::task::AbortHandle;

mod catalogue;
mod key;
mod service;

pub(crate) use catalogue::follow_catalogue;
pub(crate) use key::{KeyStates, follow_key};
pub use key::{KvState, KvStream};
pub(crate) use service::follow_service;

/// What a subject is watched in: the datacenter, and its name.
pub(crate) type Place<K> = (Option<Arc<str>>, K);

/// The running watches of one kind.
pub(crate) struct Shared<K, T> {
    running: Mutex<HashMap<Place<K>, Weak<Running<T>>>>,
}

impl<K, T> fmt::Debug for Shared<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// One running watch; dropping the last reader ends it.
pub(crate) struct Running<T> {
    pub(crate) feed: Feed<T>,
    task: AbortHandle,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Eq + Hash + Clone, T> Shared<K, T> {
    pub(crate) fn new() -> Self {
        Self { running: Mutex::new(HashMap::new()) }
    }

    /// Joins the running watch of a place, or starts one.
    pub(crate) fn join(
        &self,
        place: Place<K>,
        start: impl FnOnce(Feed<T>) -> AbortHandle,
    ) -> Joined<T> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let present = running.get(&place).and_then(Weak::upgrade);
        let present = present.unwrap_or_else(|| {
            running.retain(|_, watch| watch.strong_count() > 0);
            let feed = Feed::new();
            let task = start(feed.clone());
            let new = Arc::new(Running { feed, task });
            running.insert(place, Arc::downgrade(&new));
            new
        });
        Joined { subscription: present.feed.subscribe(), _running: present }
    }

    /// Everything that is watched now.
    pub(crate) fn all(&self) -> Vec<(Place<K>, Option<Arc<T>>)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = running.iter().filter_map(|(place, w)| Some((place.clone(), w.upgrade()?)));
        alive.map(|(place, watch)| (place, watch.feed.latest())).collect()
    }
}

/// A reader of a shared watch; keeps it running.
pub(crate) struct Joined<T> {
    subscription: Subscription<T>,
    _running: Arc<Running<T>>,
}

impl<T> Stream for Joined<T> {
    type Item = Arc<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        Pin::new(&mut self.subscription).poll_next(cx)
    }
}

impl<T> fmt::Debug for Joined<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joined")
    }
}
