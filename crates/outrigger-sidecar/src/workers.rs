//! Threads that serve: one current-thread runtime each, so that a request stays on one core.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Which worker this thread is; 0 on threads that are none.
pub(crate) fn index() -> usize {
    INDEX.get()
}

/// The threads that serve. Dropped, they end, and what still runs on them is cut.
#[derive(Debug)]
pub(crate) struct Workers {
    running: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts so many; by default one for each core that the process may use.
    pub(crate) fn start(wanted: Option<NonZeroUsize>) -> io::Result<Self> {
        let count = match wanted {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        let mut running = Vec::with_capacity(count);
        for index in 0..count {
            running.push(Worker::start(index)?);
        }
        Ok(Self { running })
    }

    /// Where to spawn on each.
    pub(crate) fn handles(&self) -> impl ExactSizeIterator<Item = &Handle> {
        self.running.iter().map(|worker| &worker.handle)
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread =
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                INDEX.set(index);
                // A sender that is gone means the same.
                let _ = runtime.block_on(ended);
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Self { handle, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}
