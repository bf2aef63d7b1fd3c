//! The product's seams, put on the simulated network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use outrigger::consul::{AgentAddress, ConsulConfig, Dial, Dialed};
use outrigger::core::{Clock, Observers};
use outrigger::discovery::{BoxFuture, GuardConfig};
use outrigger_dev::Listen;
use turmoil::net::{TcpListener, TcpStream};

/// Where the registry listens.
pub(crate) const REGISTRY_PORT: u16 = 8500;
/// How long an empty answer is held against, by this configuration.
pub(crate) const HOLD: Duration = Duration::from_secs(30);
/// How long after the first empty answer a second one may confirm it.
pub(crate) const CONFIRM_AFTER: Duration = Duration::from_secs(10);

/// Dials over the simulated network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimDial;

impl Dial for SimDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn Dialed + 'static>>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Box::new(stream) as Box<dyn Dialed>)
        })
    }
}

/// Accepts from the simulated network.
pub(crate) struct SimListener(pub(crate) TcpListener);

impl Listen for SimListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }
}

/// The host's own paused clock, and a wall clock that begins at the same instant in every run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> Instant {
        outrigger::tower::clock::now()
    }

    fn wall(&self) -> SystemTime {
        let since = turmoil::sim_elapsed().unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + since
    }
}

/// How everybody reaches the registry, with watches that wait so long.
pub(crate) fn consul(observers: Observers, wait: Duration) -> ConsulConfig {
    let address = AgentAddress::Tcp { host: "registry".into(), port: REGISTRY_PORT, tls: false };
    let mut guard = GuardConfig::default();
    guard.hold = HOLD;
    guard.confirm_after = CONFIRM_AFTER;
    let mut config = ConsulConfig::new(address)
        .with_clock(Arc::new(SimClock))
        .with_dialer(Arc::new(SimDial))
        .with_observers(observers);
    (config.guard, config.wait) = (guard, wait);
    config
}
