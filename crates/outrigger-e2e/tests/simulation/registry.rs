//! The registry: the development agent, on the simulated network.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use outrigger_dev::Agent;
use turmoil::net::TcpListener;

use crate::ledger::Shared;
use crate::network::{REGISTRY_PORT, SimListener};

/// Runs until it is killed; with a state file it remembers what it knew.
pub(crate) async fn run(ledger: Shared, seed: u64, state_file: Option<PathBuf>) -> turmoil::Result {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), REGISTRY_PORT);
    let listener = SimListener(TcpListener::bind(address).await?);
    let mut builder = Agent::builder().seed(seed);
    if let Some(path) = state_file {
        builder = builder.state_file(path);
    }
    ledger.agent_started(Arc::new(builder.listen(address, listener)?));
    pending().await
}
