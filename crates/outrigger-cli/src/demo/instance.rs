//! One instance of the demo fleet: a thread, a runtime and a socket of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use outrigger::Fleet;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::services::{Knobs, Role, Service};

/// How an instance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once and without a word: every socket closes, nothing is taken back from the registry.
    Kill,
    /// In order: deregistered, drained, closed.
    Drain,
}

/// How an instance of the demo joins its fleet.
pub(crate) trait Join: Send + Sync {
    /// Joins as one instance of `role`.
    fn join(&self, role: Role) -> impl Future<Output = Result<Fleet>> + Send;
}

/// A running instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) knobs: Arc<Knobs>,
    pub(crate) fleet: Fleet,
    end: Option<oneshot::Sender<End>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Instance {
    /// Starts an instance and waits until it serves.
    ///
    /// It lives on a thread with a runtime of its own, so that ending it without a word is as
    /// sudden as the end of a process: the runtime is dropped, and with it every socket and task.
    pub(crate) async fn start<J>(role: Role, name: String, joiner: Arc<J>) -> Result<Self>
    where
        J: Join + 'static,
    {
        let knobs = Arc::new(Knobs::default());
        let (end, ended) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let thread = thread::Builder::new().name(name.clone()).spawn({
            let (knobs, name) = (Arc::clone(&knobs), name.clone());
            move || live(role, &name, &joiner, knobs, ended, ready)
        })?;
        let (fleet, address) = started
            .await
            .map_err(|_| anyhow!("the thread of {name} ended before it served"))?
            .with_context(|| format!("{name} cannot start"))?;
        Ok(Self { role, name, address, knobs, fleet, end: Some(end), thread: Some(thread) })
    }

    /// Ends it at once and without a word, and waits until its sockets are closed.
    pub(crate) async fn kill(mut self) {
        self.finish(End::Kill).await;
    }

    /// Ends it in order, and waits until it has.
    pub(crate) async fn drain(mut self) {
        self.finish(End::Drain).await;
    }

    async fn finish(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            let _ = end.send(how);
        }
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

type Ready = oneshot::Sender<Result<(Fleet, SocketAddr)>>;

fn live<J: Join>(
    role: Role,
    name: &str,
    joiner: &Arc<J>,
    knobs: Arc<Knobs>,
    ended: oneshot::Receiver<End>,
    ready: Ready,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        let started = async {
            let fleet = joiner.join(role).await?;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            Ok::<_, anyhow::Error>((fleet, listener, address))
        };
        let (fleet, listener, address) = match started.await {
            Ok(started) => started,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let service = Service::new(role, name, fleet.clone(), knobs);
        let (drain, draining) = oneshot::channel::<()>();
        let serving = fleet.serve_until(listener, service, async {
            // An end that comes by the sender being dropped is an end in order too.
            let _ = draining.await;
        });
        let _ = ready.send(Ok((fleet.clone(), address)));
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            _ = &mut serving => {}
            how = ended => if how != Ok(End::Kill) {
                let _ = drain.send(());
                let _ = serving.await;
            }
        }
    });
    runtime.shutdown_timeout(Duration::ZERO);
}
