//! The outbound listener as a unix socket.

use std::sync::Arc;
use std::time::Duration;

use outrigger::tower::RefuseLayer;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tower_layer::Layer;

use super::service::{Outbound, Shared, server};

/// Serves until `stop` says so. Whoever may open the file is as near as loopback.
pub(crate) async fn serve_unix(
    listener: UnixListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let near = std::net::IpAddr::from([127, 0, 0, 1]);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = Outbound::new(Arc::clone(&shared), None, near);
                let service = RefuseLayer::new().layer(service);
                let mut stop = stop.clone();
                tokio::spawn(async move {
                    let stopped = async move {
                        let _ = stop.wait_for(|stop| *stop).await;
                    };
                    server().serve_stream(stream, service, stopped).await;
                });
            }
            Err(error) => {
                // Out of file descriptors: the connection waits where it is.
                tracing::warn!(%error, "accepting pauses");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
