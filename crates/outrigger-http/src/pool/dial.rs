//! Opening a connection.

use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{BoxError, FailureKind};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::endpoint::{Dialing, EndpointPool};
use super::handshake::{handshake_http1, handshake_http2};
use super::multiplexed::Multiplexed;
use super::single::Single;
use super::{OutboundBody, may_be_http2, sweep};
use crate::io::{Probed, Socket, Stream, Wire};

/// Opens a connection and gives it to whoever waits for one, or tells them why not.
pub(crate) async fn dial<B: OutboundBody>(dialing: Dialing<B>) {
    let Some(home) = dialing.home().cloned() else { return };
    let patience = home.common.config.connect_timeout;
    let opened = match tokio::time::timeout(patience, open(&home)).await {
        Ok(opened) => opened,
        Err(_) => Err(DialError::TimedOut(patience).into()),
    };
    match opened {
        Ok(Opened::Single(single)) => {
            sweep::ensure(&home);
            dialing.fill_single(single);
        }
        Ok(Opened::Multiplexed(connection)) => {
            sweep::ensure(&home);
            dialing.fill_multiplexed(connection);
        }
        Err(error) => {
            tracing::debug!(
                endpoint = %home.address(),
                error = &*error as &dyn std::error::Error,
                "no connection"
            );
            let error = Arc::<dyn std::error::Error + Send + Sync>::from(error);
            dialing.fail(|| {
                home.failed(FailureKind::ConnectFailure).with_cause(Shared(Arc::clone(&error)))
            });
        }
    }
}

enum Opened<B: OutboundBody> {
    Single(Box<Single<B>>),
    Multiplexed(Arc<Multiplexed<B>>),
}

/// Why no connection came about, where nobody below has an error for it.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("the endpoint asks for TLS and the pool has no TLS configuration")]
    NoTls,
}

/// One cause, told to several.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<dyn std::error::Error + Send + Sync>);

async fn open<B: OutboundBody>(home: &Arc<EndpointPool<B>>) -> Result<Opened<B>, BoxError> {
    let runtime = Handle::current();
    let most = home.common.config.max_head_bytes;
    let socket = connect(home).await?;
    let protocol = home.protocol();
    let wire = Arc::new(Wire::new());
    let tcp = Probed::new(socket, Arc::clone(&wire), !may_be_http2(protocol));
    let (stream, is_http2) = if protocol.is_tls() {
        let tls = home.common.tls.as_ref().ok_or(DialError::NoTls)?;
        let (stream, is_http2) = tls.connect(home.endpoint(), tcp).await?;
        (Stream::other(stream), is_http2)
    } else {
        (Stream::Plain(tcp), protocol.is_http2_only())
    };
    if is_http2 {
        Ok(Opened::Multiplexed(handshake_http2(stream, wire, &runtime, home).await?))
    } else {
        Ok(Opened::Single(handshake_http1(stream, wire, most, &runtime).await?))
    }
}

async fn connect<B: OutboundBody>(home: &EndpointPool<B>) -> std::io::Result<Socket> {
    #[cfg(unix)]
    if let Some(path) = &home.common.unix {
        return tokio::net::UnixStream::connect(path).await.map(Socket::Unix);
    }
    let tcp = TcpStream::connect(home.address()).await?;
    set_up(&tcp)?;
    Ok(Socket::Tcp(tcp))
}

fn set_up(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    // A machine that is gone says nothing: without this, a response's body that has begun would be
    // waited for until the caller's own timeout, and an idle connection be kept for ever.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
