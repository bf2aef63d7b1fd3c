//! Who runs an HTTP/1.1 connection: whoever waits for its answer, or a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

/// A connection's own future: hyper's.
pub(crate) type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Runs an HTTP/1.1 connection.
///
/// The request's future runs it, and then the response's body: one task less to switch to and
/// back, which is a third of what a short exchange costs. What an answer leaves half sent, or half
/// read, goes on in a task of its own.
pub(crate) struct Driver {
    runs: Runs,
    relay: Arc<Relay>,
    /// The relay's, kept: hyper and tokio need not clone it again while it stays the same.
    waker: Waker,
}

enum Runs {
    Here(Connection),
    /// For as long as it lasts.
    InTask,
    Ended,
}

impl Driver {
    pub(crate) fn new(connection: Connection) -> Self {
        let relay = Arc::new(Relay { state: AtomicU8::new(MUTED), waker: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&relay));
        Self { runs: Runs::Here(connection), relay, waker }
    }

    /// Polls `wanted` of the connection, running it in between if it is run here.
    ///
    /// With `eager` the connection runs first, since there is nothing to be had before.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        eager: bool,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if matches!(self.runs, Runs::InTask) {
            return wanted(cx);
        }
        self.relay.mute();
        let mut own = Context::from_waker(&self.waker);
        if !eager && let Poll::Ready(found) = wanted(&mut own) {
            return Poll::Ready(found);
        }
        run(&mut self.runs, &mut own);
        match wanted(&mut own) {
            Poll::Ready(found) => Poll::Ready(found),
            Poll::Pending => {
                self.relay.arm(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Runs it as far as it gets, for nobody who waits.
    pub(crate) fn run_idle(&mut self) {
        if matches!(self.runs, Runs::Here(_)) {
            self.relay.mute();
            run(&mut self.runs, &mut Context::from_waker(&self.waker));
        }
    }

    /// Lets go of the last task that waited, which may be long gone.
    pub(crate) fn forget_waker(&self) {
        self.relay.forget();
    }

    /// Moves it into a task of its own, if a runtime is at hand.
    #[cold]
    pub(crate) fn detach(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        match std::mem::replace(&mut self.runs, Runs::InTask) {
            Runs::Here(connection) => {
                runtime.spawn(async move { note_end(connection.await) });
            }
            other => self.runs = other,
        }
    }
}

#[inline]
fn run(runs: &mut Runs, own: &mut Context<'_>) {
    let Runs::Here(connection) = runs else { return };
    if let Poll::Ready(result) = connection.as_mut().poll(own) {
        // Dropped at once: what it still holds, a request that it has not begun among it, is told
        // so by the drop.
        *runs = Runs::Ended;
        note_end(result);
    }
}

#[cold]
fn note_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

/// Wakes the task that waits, and nobody while that task is the one that runs the connection:
/// taking a chunk of a body wakes its sender, which here is oneself.
struct Relay {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// Nobody waits: whoever comes next runs the connection before it does.
const MUTED: u8 = 0;
/// The task that `waker` stands for waits.
const ARMED: u8 = 1;
/// Something has happened since.
const WOKEN: u8 = 2;

impl Relay {
    #[inline]
    fn mute(&self) {
        self.state.store(MUTED, Ordering::Release);
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn arm(&self, waker: &Waker) {
        {
            let mut present = self.waker();
            match &mut *present {
                Some(present) => present.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
        let armed = self.state.compare_exchange(MUTED, ARMED, Ordering::AcqRel, Ordering::Acquire);
        if armed.is_err() {
            // It happened in the meantime, or hyper and tokio ask for a pause.
            waker.wake_by_ref();
        }
    }

    fn forget(&self) {
        self.waker().take();
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ARMED {
            // Cloned, since a waker may do anything, and not with a lock held.
            let waker = self.waker().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
