//! What happens on a connection, as far as those around hyper want to know.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::refused::Refused;

/// What happens on a connection: told by the stream below hyper and the service above it, to each
/// other and to the watchdog.
#[derive(Debug)]
pub(crate) struct Activity {
    in_flight: AtomicU32,
    /// Requests that have begun.
    begun: AtomicU64,
    /// Requests that were answered; over HTTP/1.1 in the order in which they came.
    finished: AtomicU64,
    /// Bytes came while no request was in flight: the next head has begun.
    has_bytes: AtomicBool,
    /// Bytes read and written.
    moved: AtomicU64,
    /// The peer has to move: to send more of a body, or to take more of an answer.
    waits: AtomicBool,
    /// Something was refused: the peer may still be talking when the connection is closed.
    lingers: AtomicBool,
    /// Which request, counted from 0, stands in for one that is refused.
    refused_at: AtomicU64,
    /// A body was badly framed; its request is answered with `refused`.
    is_broken: AtomicBool,
    refused: Mutex<Option<Refused>>,
    /// The last answer was a switch of protocols.
    has_switched: AtomicBool,
    /// Somebody waits for an answer.
    is_awaited: AtomicBool,
    awaits: Mutex<Option<Waker>>,
}

/// What became of a request that asked for another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Switches,
    Stays,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            has_bytes: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            waits: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
            refused_at: AtomicU64::new(u64::MAX),
            is_broken: AtomicBool::new(false),
            refused: Mutex::new(None),
            has_switched: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            awaits: Mutex::new(None),
        }
    }
}

impl Activity {
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    pub(crate) fn has_begun_head(&self) -> bool {
        self.has_bytes.load(Ordering::Relaxed)
    }

    /// Bytes were read.
    pub(crate) fn note_bytes(&self, read: usize) {
        self.note_moved(read);
        if !self.is_busy() {
            self.has_bytes.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn note_waiting(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Whether the peer had to move since this was last asked.
    pub(crate) fn take_waiting(&self) -> bool {
        self.waits.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` request is to be answered with a refusal.
    #[cold]
    pub(crate) fn refuse(&self, nth: u64, refused: Refused) {
        *self.refused() = Some(refused);
        self.refused_at.store(nth, Ordering::Release);
        self.linger();
    }

    /// What the `nth` request is to be answered with, where it is none.
    pub(crate) fn refusal_of(&self, nth: u64) -> Option<Refused> {
        if self.refused_at.load(Ordering::Acquire) == nth { *self.refused() } else { None }
    }

    /// The body that is being read is badly framed.
    #[cold]
    pub(crate) fn break_body(&self, refused: Refused) {
        *self.refused() = Some(refused);
        self.is_broken.store(true, Ordering::Release);
        self.linger();
    }

    /// Why the body that is being read is none.
    pub(crate) fn broken(&self) -> Option<Refused> {
        if self.is_broken.load(Ordering::Acquire) { *self.refused() } else { None }
    }

    /// A request was answered: with a switch of protocols, or without.
    pub(crate) fn answered(&self, switches: bool) {
        if switches {
            self.has_switched.store(true, Ordering::Release);
        }
        self.finished.fetch_add(1, Ordering::AcqRel);
        if self.is_awaited.swap(false, Ordering::AcqRel) {
            let waker = self.awaits.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn has_switched(&self) -> bool {
        self.has_switched.load(Ordering::Acquire)
    }

    /// Ready once so many requests are answered.
    pub(crate) fn poll_decision(&self, requests: u64, cx: &mut Context<'_>) -> Poll<Decision> {
        *self.awaits.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.is_awaited.store(true, Ordering::Release);
        if self.finished.load(Ordering::Acquire) < requests {
            return Poll::Pending;
        }
        self.is_awaited.store(false, Ordering::Release);
        Poll::Ready(if self.has_switched() { Decision::Switches } else { Decision::Stays })
    }
}

/// Counts one request, from its head to the end of its response's body.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

impl InFlight {
    /// Begins it; tells which request of the connection it is, counted from 0.
    pub(crate) fn begin(activity: &Arc<Activity>) -> (Self, u64) {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        let nth = activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.has_bytes.store(false, Ordering::Relaxed);
        (Self(Arc::clone(activity)), nth)
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
