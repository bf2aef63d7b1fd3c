//! The watch of one key.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use outrigger_core::Freshness;
use outrigger_discovery::{Feed, KeyState, RegistryError};

use crate::client::Client;
use crate::follow::Follow;
use crate::kv::{self, KvEntry};
use crate::watch::Joined;

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvState {
    /// The entry; `None` when there is none.
    pub entry: Option<KvEntry>,
    /// `Live`, or `Stale` while the registry cannot be reached or denies the key.
    pub freshness: Freshness,
    /// Why it is stale, one of a fixed set of words ([`RegistryError::class`]).
    pub trouble: Option<&'static str>,
    /// Whether the registry has said anything yet; readers of [`KvStream`] see no other state.
    is_known: bool,
}

impl KvState {
    /// The value; `None` when there is no entry.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        self.entry.as_ref().map(|entry| &entry.value)
    }
}

/// A stream of what stands under a key: the newest first, at once when it is known.
#[derive(Debug)]
pub struct KvStream(pub(crate) Joined<KvState>);

impl KvStream {
    /// What stands there next; `None` when the client has ended.
    ///
    /// # Cancel safety
    /// Safe: what was not taken is there at the next call.
    pub async fn next(&mut self) -> Option<Arc<KvState>> {
        std::future::poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await
    }
}

impl Stream for KvStream {
    type Item = Arc<KvState>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(state) if !state.is_known => {}
                state => return Poll::Ready(state),
            }
        }
    }
}

/// The same for the port of [`KeyWatcher`](outrigger_discovery::KeyWatcher), which tells of
/// trouble from the first question on.
pub(crate) struct KeyStates(pub(crate) Joined<KvState>);

impl Stream for KeyStates {
    type Item = Arc<KeyState>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let state = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(state.map(|state| {
            let mut told = KeyState::default();
            told.is_known = state.is_known;
            told.value = state.value().map(|value| Arc::from(&value[..]));
            told.trouble = state.trouble;
            Arc::new(told)
        }))
    }
}

struct Feeding<'a>(&'a Feed<KvState>);

impl Feeding<'_> {
    /// Publishes what the registry says, if it differs; whether the entry did.
    fn publish(&self, entry: Option<KvEntry>) -> bool {
        let last = self.0.latest().filter(|last| last.is_known);
        let same = last.as_ref().is_some_and(|last| last.entry == entry);
        self.put(KvState { entry, freshness: Freshness::Live, trouble: None, is_known: true });
        !same
    }

    /// Publishes that the registry cannot be asked; what it said last stays.
    fn fail(&self, error: &RegistryError) {
        let last = self.0.latest();
        let is_known = last.as_ref().is_some_and(|last| last.is_known);
        let entry = last.and_then(|last| last.entry.clone());
        let trouble = Some(error.class());
        self.put(KvState { entry, freshness: Freshness::Stale, trouble, is_known });
    }

    fn put(&self, state: KvState) {
        if self.0.latest().as_deref() != Some(&state) {
            self.0.publish(Arc::new(state));
        }
    }
}

/// Follows a key for as long as somebody reads.
pub(crate) async fn follow_key(
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    key: Arc<str>,
    feed: Feed<KvState>,
) {
    let Ok(ask) = kv::question(&key, datacenter.as_deref()) else { return };
    let mut follow = Follow::new(&client, ask);
    let feeding = Feeding(&feed);
    loop {
        let judged = follow.next().await.and_then(|followed| {
            // A missing key answers 404 with an index that is waited on like any other.
            let entry = kv::read_entry(&followed.answered)?;
            Ok((followed.answered.told, entry))
        });
        match judged {
            Ok((told, entry)) => {
                let news = feeding.publish(entry);
                follow.told(told.index, news);
            }
            Err(error) => {
                tracing::debug!(key = %key, class = error.class(), %error, "watch of a key failed");
                follow.failed();
                feeding.fail(&error);
            }
        }
    }
}
