//! The line between the fleet and its registry, which the demo can cut.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards every connection to the registry, until it is cut.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback and forwards to `target`, a host and a port.
    pub(crate) async fn start(target: String) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, _) = watch::channel(true);
        let whole = Arc::new(sender);
        let task = tokio::spawn(forward(listener, target, Arc::clone(&whole)));
        Ok(Self { address, whole, task })
    }

    /// What the fleet takes for its registry.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection, and every new one at once; as a registry that was killed.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Forwards again.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(listener: TcpListener, target: String, whole: Arc<watch::Sender<bool>>) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let some connections end first.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        if !*whole.borrow() {
            continue;
        }
        let (mut state, target) = (whole.subscribe(), target.clone());
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(&target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = state.wait_for(|whole| !*whole) => {}
            }
        });
    }
}
