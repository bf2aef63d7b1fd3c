//! What has happened lately: a bounded ring, written by observers, read by streams.

mod entry;
mod stream;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use outrigger_core::{Clock, Event, Observe};
use tokio::sync::watch;

use entry::Entry;
pub(crate) use stream::{Position, stream};

/// Entries that are kept; older ones are forgotten.
pub const MAX_EVENTS: usize = 500;

/// What has happened lately, newest [`MAX_EVENTS`] kept.
///
/// Hears of changes of state only: nothing that happens once per request comes here. Readers hold
/// a place in it and no copy, so that a slow one costs nothing.
///
/// Cost: a few hundred bytes an entry, and next to nothing before the first.
pub struct Events {
    /// Tells this ring's numbers from those of the process before.
    boot: u64,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    /// The number of the newest; 0 before the first.
    newest: u64,
}

impl Ring {
    /// The number of the oldest entry that is kept, or will be.
    fn oldest(&self) -> u64 {
        self.newest + 1 - self.entries.len() as u64
    }
}

/// Entries after some place in the ring.
pub(crate) struct Batch {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Entries in between that are forgotten.
    pub(crate) lost: u64,
}

impl Events {
    /// An empty ring; `started`, by the wall clock, tells it from the one before a restart.
    #[must_use]
    pub fn new(started: SystemTime) -> Arc<Self> {
        let boot = unix_ms(started);
        Arc::new(Self { boot, ring: Mutex::default(), newest: watch::Sender::new(0) })
    }

    /// Writes an entry of one's own; `kind` is one of a fixed set of words.
    pub fn note(&self, at: SystemTime, kind: &'static str, text: impl Into<String>) {
        self.push(Entry::noted(unix_ms(at), kind, text.into()));
    }

    /// An observer that writes down what changes inside the service `who`.
    pub fn observer(self: &Arc<Self>, who: &str, clock: Arc<dyn Clock>) -> Arc<dyn Observe> {
        Arc::new(Observer { events: Arc::clone(self), who: who.into(), clock })
    }

    fn push(&self, mut entry: Entry) {
        let newest = {
            let mut ring = self.lock();
            ring.newest += 1;
            if ring.entries.len() == MAX_EVENTS {
                ring.entries.pop_front();
            }
            entry.seq = ring.newest;
            ring.entries.push_back(Arc::new(entry));
            ring.newest
        };
        // Two that push at once may come here in the other order; a reader looks at the ring.
        self.newest.send_modify(|told| *told = newest.max(*told));
    }

    /// At most `most` entries after number `after`, the oldest first.
    pub(crate) fn after(&self, after: u64, most: usize) -> Batch {
        let ring = self.lock();
        let oldest = ring.oldest();
        let from = (after + 1).max(oldest);
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let entries = ring.entries.iter().skip(skipped).take(most).cloned().collect();
        Batch { entries, lost: from - (after + 1) }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Each change is whole before the lock is given up, so a poisoned ring is one too.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("newest", &*self.newest.borrow()).finish_non_exhaustive()
    }
}

struct Observer {
    events: Arc<Events>,
    who: Box<str>,
    clock: Arc<dyn Clock>,
}

impl Observe for Observer {
    fn observe(&self, event: &Event<'_>) {
        let at = || unix_ms(self.clock.wall());
        if let Some(entry) = Entry::of(&self.who, event, at) {
            self.events.push(entry);
        }
    }

    fn hears_requests(&self) -> bool {
        false
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("who", &self.who).finish_non_exhaustive()
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u64) -> Arc<Events> {
        let events = Events::new(SystemTime::UNIX_EPOCH);
        for number in 1..=count {
            events.note(SystemTime::UNIX_EPOCH, "test", number.to_string());
        }
        events
    }

    fn numbers(batch: &Batch) -> (u64, u64) {
        let seq = |entry: Option<&Arc<Entry>>| entry.map_or(0, |entry| entry.seq);
        (seq(batch.entries.first()), seq(batch.entries.last()))
    }

    #[test]
    fn a_ring_keeps_the_newest_and_says_how_many_it_forgot() {
        let events = filled(MAX_EVENTS as u64 + 20);
        let all = events.after(0, usize::MAX);
        assert_eq!(numbers(&all), (21, 520));
        assert_eq!((all.entries.len(), all.lost), (MAX_EVENTS, 20));
        let rest = events.after(518, 10);
        assert_eq!((numbers(&rest), rest.lost), ((519, 520), 0));
        let some = events.after(20, 3);
        assert_eq!((numbers(&some), some.lost), ((21, 23), 0));
    }

    #[test]
    fn there_is_nothing_after_the_newest_nor_in_an_empty_ring() {
        for (events, after) in [(filled(0), 0), (filled(3), 3), (filled(3), 9)] {
            let batch = events.after(after, 10);
            assert!(batch.entries.is_empty() && batch.lost == 0, "after {after}");
        }
    }
}
