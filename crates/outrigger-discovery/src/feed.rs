//! One value that is replaced, and everybody who wants the newest.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

/// Publishes a value that is replaced; a reader that is late sees only the newest.
///
/// Shape: cheap to clone; when the last clone goes, the subscriptions end after their last value.
/// Works under any executor, or none: it has no timer and spawns nothing.
pub struct Feed<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<Arc<T>>,
    version: u64,
    publishers: usize,
    // One place per subscription, so that a dropped one leaves no waker behind.
    readers: Vec<Reader>,
}

#[derive(Default)]
struct Reader {
    taken: bool,
    waker: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere cannot leave the state half written: every section below is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(readers: Vec<Waker>) {
        readers.into_iter().for_each(Waker::wake);
    }
}

impl<T> State<T> {
    fn take_wakers(&mut self) -> Vec<Waker> {
        self.readers.iter_mut().filter_map(|reader| reader.waker.take()).collect()
    }
}

impl<T> Feed<T> {
    /// A feed that has no value yet.
    #[must_use]
    pub fn new() -> Self {
        let state = State { value: None, version: 0, publishers: 1, readers: Vec::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// Replaces the value and wakes everybody.
    pub fn publish(&self, value: Arc<T>) {
        let mut state = self.shared.lock();
        state.value = Some(value);
        state.version += 1;
        let wakers = state.take_wakers();
        drop(state);
        Shared::<T>::wake(wakers);
    }

    /// The newest value.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<T>> {
        self.shared.lock().value.clone()
    }

    /// How many subscriptions are alive.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.lock().readers.iter().filter(|reader| reader.taken).count()
    }

    /// A new reader, which gets the present value at once when there is one.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        let mut state = self.shared.lock();
        let free = state.readers.iter().position(|reader| !reader.taken);
        let place = free.unwrap_or_else(|| {
            state.readers.push(Reader::default());
            state.readers.len() - 1
        });
        state.readers[place] = Reader { taken: true, waker: None };
        drop(state);
        Subscription { shared: Arc::clone(&self.shared), place, seen: 0 }
    }
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        self.shared.lock().publishers += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.publishers -= 1;
        if state.publishers == 0 {
            let wakers = state.take_wakers();
            drop(state);
            Shared::<T>::wake(wakers);
        }
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("version", &self.shared.lock().version).finish_non_exhaustive()
    }
}

/// Reads a [`Feed`]: a stream of its newest values.
pub struct Subscription<T> {
    shared: Arc<Shared<T>>,
    place: usize,
    seen: u64,
}

impl<T> Stream for Subscription<T> {
    type Item = Arc<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.version > self.seen {
            self.seen = state.version;
            return Poll::Ready(state.value.clone());
        }
        if state.publishers == 0 {
            return Poll::Ready(None);
        }
        let waker = &mut state.readers[self.place].waker;
        match waker {
            Some(present) => present.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.shared.lock().readers[self.place] = Reader::default();
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("seen", &self.seen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<T>(reader: &mut Subscription<T>) -> Poll<Option<Arc<T>>> {
        pin!(reader).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_reader_sees_only_the_newest() {
        let feed = Feed::new();
        let mut reader = feed.subscribe();
        assert!(poll(&mut reader).is_pending(), "nothing is known yet");
        feed.publish(Arc::new(1));
        feed.publish(Arc::new(2));
        assert_eq!(poll(&mut reader), Poll::Ready(Some(Arc::new(2))));
        assert!(poll(&mut reader).is_pending(), "each value once");
        assert_eq!(poll(&mut feed.subscribe()), Poll::Ready(Some(Arc::new(2))), "at once");
    }

    #[test]
    fn a_reader_is_woken_by_a_value_and_by_the_end() {
        let feed = Feed::new();
        let mut reader = feed.subscribe();
        let woken = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut reader).poll_next(&mut cx).is_pending());
        feed.publish(Arc::new(1));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut reader).poll_next(&mut cx).is_ready());
        assert!(Pin::new(&mut reader).poll_next(&mut cx).is_pending());
        let other = feed.clone();
        drop(feed);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "one publisher is left");
        drop(other);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert_eq!(poll(&mut reader), Poll::Ready(None));
    }

    #[test]
    fn places_of_dropped_readers_are_used_again() {
        let feed = Feed::<u8>::new();
        let first = feed.subscribe();
        drop(first);
        let _second = feed.subscribe();
        assert_eq!(feed.subscribers(), 1);
        assert_eq!(feed.shared.lock().readers.len(), 1);
    }
}
