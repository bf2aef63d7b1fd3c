//! What stands under the keys of a registry, as it changes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::RegistryError;

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// Whether the registry has said anything about it yet.
    pub is_known: bool,
    /// What stood there when the registry last spoke; `None` when there was no such key.
    pub value: Option<Arc<[u8]>>,
    /// Why the registry cannot be asked now, one of a fixed set of words
    /// ([`RegistryError::class`]).
    pub trouble: Option<&'static str>,
}

impl KeyState {
    /// The registry says that this stands there.
    #[must_use]
    pub const fn present(value: Arc<[u8]>) -> Self {
        Self { is_known: true, value: Some(value), trouble: None }
    }

    /// The registry says that there is no such key.
    #[must_use]
    pub const fn absent() -> Self {
        Self { is_known: true, value: None, trouble: None }
    }

    /// The same, while the registry cannot be asked.
    #[must_use]
    pub const fn with_trouble(mut self, class: &'static str) -> Self {
        self.trouble = Some(class);
        self
    }
}

/// Watches keys of a registry.
///
/// Dyn-compatible and off the request path.
pub trait KeyWatcher: fmt::Debug + Send + Sync {
    /// Watches a key.
    ///
    /// Shape: the stream yields the newest state, at once when one is known, and after that each
    /// newer one; a reader that is late skips to the newest. A registry that cannot be asked is a
    /// state with a [`trouble`](KeyState::trouble), never an end: the stream ends only when the
    /// watcher itself has ended. Watches of one key share their traffic; dropping the last stream
    /// ends it.
    ///
    /// # Errors
    /// [`RegistryError::Key`] for a key that cannot be asked for.
    fn watch_key(&self, key: &str) -> Result<KeyStream, RegistryError>;
}

/// A stream of what is known of a key: the newest first, at once when something is known.
pub struct KeyStream(Pin<Box<dyn Stream<Item = Arc<KeyState>> + Send>>);

impl KeyStream {
    /// Wraps an adapter's stream.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Arc<KeyState>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next state; `None` when the watcher has ended.
    ///
    /// # Cancel safety
    /// Safe: a state that was not taken is there at the next call.
    pub async fn next(&mut self) -> Option<Arc<KeyState>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for KeyStream {
    type Item = Arc<KeyState>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for KeyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStream")
    }
}
