//! An endpoint that does as it is told.

mod serve;
mod step;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outrigger_core::{Endpoint, Instance, NameError};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use step::{Act, Step};

/// One request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, and values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Bytes,
    /// Which connection it came over, counted from 0.
    pub connection: u64,
}

impl Seen {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

type Script = dyn Fn(&Seen) -> Step + Send + Sync;

/// An HTTP/1.1 endpoint on loopback that follows a script and remembers what it was asked.
///
/// Each request, of whichever connection, takes the next step; the last step is repeated for ever.
/// Dropped, it stops listening and resets nothing: open connections end with its runtime's tasks.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

struct State {
    script: Mutex<Arc<Script>>,
    seen: Mutex<VecDeque<Seen>>,
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    /// Raised to have every open connection reset.
    resets: watch::Sender<u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("requests", &self.requests)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl State {
    fn take_note(&self, seen: &Seen) -> Step {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut all = lock(&self.seen);
        if all.len() == Scripted::MAX_SEEN {
            all.pop_front();
        }
        all.push_back(seen.clone());
        drop(all);
        let script = Arc::clone(&lock(&self.script));
        script(seen)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    /// Most requests that are remembered; older ones are forgotten, and still counted.
    pub const MAX_SEEN: usize = 10_000;

    /// Starts an endpoint that follows these steps; without any it answers 200.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start(steps: impl IntoIterator<Item = Step>) -> io::Result<Self> {
        Self::start_arc(follow(steps)).await
    }

    /// Starts an endpoint that decides by the request.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start_with(
        script: impl Fn(&Seen) -> Step + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_arc(Arc::new(script)).await
    }

    async fn start_arc(script: Arc<Script>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            script: Mutex::new(script),
            seen: Mutex::default(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            resets: watch::Sender::new(0),
        });
        let listening = Some(listen(listener, Arc::clone(&state)));
        Ok(Self { address, state, listening })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// It as an instance of a service, with an id made of both.
    ///
    /// # Errors
    /// When `service` is not a name.
    pub fn instance(&self, service: &str) -> Result<Instance, NameError> {
        let id = format!("{service}-{}", self.address.port());
        Ok(Instance::new(id.parse()?, service.parse()?, self.address))
    }

    /// It as an endpoint of a service.
    ///
    /// # Errors
    /// When `service` is not a name.
    pub fn endpoint(&self, service: &str) -> Result<Endpoint, NameError> {
        Ok(Endpoint::new(Arc::new(self.instance(service)?), self.address))
    }

    /// Requests whose head and body have arrived.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.state.open.load(Ordering::SeqCst)
    }

    /// The last [`MAX_SEEN`](Self::MAX_SEEN) requests, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).iter().cloned().collect()
    }

    /// Follows other steps from the next request on.
    pub fn follow(&self, steps: impl IntoIterator<Item = Step>) {
        *lock(&self.state.script) = follow(steps);
    }

    /// Resets every open connection, as a killed process does.
    pub fn reset_connections(&self) {
        self.state.resets.send_modify(|resets| *resets += 1);
    }

    /// Stops listening, so that connecting is refused; open connections go on.
    ///
    /// # Cancel safety
    /// Cancel safe; the listener is gone in any case.
    pub async fn refuse(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // The port is free once the task is gone, not when it is told to go.
            let _ = listening.await;
        }
    }

    /// Dies: refuses what comes and resets what is there.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`refuse`](Self::refuse).
    pub async fn die(&mut self) {
        self.refuse().await;
        self.reset_connections();
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn listen_again(&mut self) -> io::Result<()> {
        self.refuse().await;
        let socket = TcpSocket::new_v4()?;
        // Connections of the former listener may linger on the port.
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        self.listening = Some(listen(socket.listen(1024)?, Arc::clone(&self.state)));
        Ok(())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// One step after the other, the last one for ever.
fn follow(steps: impl IntoIterator<Item = Step>) -> Arc<Script> {
    let mut steps: Vec<Step> = steps.into_iter().collect();
    if steps.is_empty() {
        steps.push(Step::answer(200));
    }
    let next = Mutex::new(0);
    Arc::new(move |_| {
        let mut next = lock(&next);
        let step = steps[*next].clone();
        *next = (*next + 1).min(steps.len() - 1);
        step
    })
}

fn listen(listener: TcpListener, state: Arc<State>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let number = state.connections.fetch_add(1, Ordering::SeqCst);
            state.open.fetch_add(1, Ordering::SeqCst);
            let (state, resets) = (Arc::clone(&state), state.resets.subscribe());
            tokio::spawn(async move {
                serve::serve(tcp, number, &state, resets).await;
                state.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    })
}
