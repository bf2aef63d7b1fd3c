//! A wire that misbehaves as told.

mod pump;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What goes wrong on the wire, in both directions. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// How much later each piece arrives.
    pub latency: Duration,
    /// Nothing passes; connections are accepted and stay open.
    pub is_stalled: bool,
    /// Units: bytes per second and direction.
    pub rate: Option<NonZeroU32>,
    /// One bit of every so many bytes is flipped.
    pub corrupt_every: Option<NonZeroU32>,
    /// New connections are reset as soon as they are accepted.
    pub resets_new: bool,
}

impl Faults {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Nothing passes.
    #[must_use]
    pub fn stall() -> Self {
        Self { is_stalled: true, ..Self::default() }
    }

    /// Everything arrives later.
    #[must_use]
    pub fn latency(by: Duration) -> Self {
        Self { latency: by, ..Self::default() }
    }

    /// Bytes per second and direction.
    #[must_use]
    pub fn rate(bytes: NonZeroU32) -> Self {
        Self { rate: Some(bytes), ..Self::default() }
    }

    /// One flipped bit in so many bytes.
    #[must_use]
    pub fn corrupt(every: NonZeroU32) -> Self {
        Self { corrupt_every: Some(every), ..Self::default() }
    }
}

/// What has passed a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes towards the target.
    pub up: u64,
    /// Bytes back.
    pub down: u64,
}

/// What happens to the connections that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    /// Raised to reset them all.
    resets: u64,
    /// Raised to close the direction towards the caller in each.
    half_closes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// A TCP proxy on loopback whose faults are switched while it runs.
///
/// Dropped, it stops listening and cuts its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    orders: watch::Sender<Orders>,
    counts: Arc<Counts>,
    listening: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of `target` that passes everything as it is.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (faults, orders) = (watch::Sender::default(), watch::Sender::default());
        let counts = Arc::new(Counts::default());
        let listening = tokio::spawn(listen(
            listener,
            target,
            faults.subscribe(),
            orders.subscribe(),
            Arc::clone(&counts),
        ));
        Ok(Self { address, faults, orders, counts, listening })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches the faults, also for connections that are open.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Changes some of the faults.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    /// Resets every open connection, on both sides.
    pub fn reset_all(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }

    /// Closes the direction towards the caller in every open connection; the other stays open.
    pub fn half_close_all(&self) {
        self.orders.send_modify(|orders| orders.half_closes += 1);
    }

    /// What has passed so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        Passed {
            connections: self.counts.connections.load(Ordering::SeqCst),
            open: self.counts.open.load(Ordering::SeqCst),
            up: self.counts.up.load(Ordering::SeqCst),
            down: self.counts.down.load(Ordering::SeqCst),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    listener: TcpListener,
    target: SocketAddr,
    faults: watch::Receiver<Faults>,
    orders: watch::Receiver<Orders>,
    counts: Arc<Counts>,
) {
    // Aborted with this task, and each with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((caller, _)) = accepted else { return };
        counts.connections.fetch_add(1, Ordering::SeqCst);
        if faults.borrow().resets_new {
            // Closing with a zero linger sends RST.
            let _ = caller.set_zero_linger();
            continue;
        }
        let (faults, orders) = (faults.clone(), orders.clone());
        let counts = Arc::clone(&counts);
        connections.spawn(async move {
            counts.open.fetch_add(1, Ordering::SeqCst);
            match TcpStream::connect(target).await {
                Ok(endpoint) => pump::run(caller, endpoint, faults, orders, &counts).await,
                // What a caller sees when nobody listens behind a proxy.
                Err(_) => drop(caller.set_zero_linger()),
            }
            counts.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}
