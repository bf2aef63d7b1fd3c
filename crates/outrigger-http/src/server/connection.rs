//! One connection of the server, from its handshake to its end.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_core::BoxError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::activity::Activity;
use super::check::Check;
use super::frames::Frames;
use super::gate::Gate;
use super::request::Requests;
use super::sniff::{Rewound, sniff};
use super::watchdog::Watchdog;
use super::{Peer, plain};
use crate::io::Stream;
use crate::{ServerConfig, ServerTls};

/// What all connections have in common.
pub(crate) struct Shared<M> {
    pub(crate) make: M,
    pub(crate) config: ServerConfig,
    pub(crate) tls: Option<ServerTls>,
}

/// Serves one connection to its end.
pub(crate) async fn serve<M, S, B>(
    shared: Arc<Shared<M>>,
    tcp: TcpStream,
    address: SocketAddr,
    draining: watch::Receiver<bool>,
) where
    M: Fn(&Peer) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Ok(local) = tcp.local_addr() else { return };
    // An answer that waits for the peer's delayed acknowledgement comes 40 ms late.
    let _ = tcp.set_nodelay(true);
    let mut peer = Peer { address, local, is_tls: false, certificates: Arc::new([]) };
    let patience = shared.config.header_timeout;
    // A peer that has not said what it speaks is owed nothing when the server drains.
    let mut leaving = draining.clone();
    let hello = async {
        match &shared.tls {
            None => {
                let (stream, is_http2) = sniff(Stream::Plain(tcp)).await?;
                Ok((stream, is_http2))
            }
            Some(tls) => {
                let tcp = plain::turn_away(tcp).await?;
                let accepting = TlsAcceptor::from(tls.config()).accept(tcp);
                let stream = Box::pin(accepting).await?;
                let session = stream.get_ref().1;
                peer.is_tls = true;
                peer.certificates = session
                    .peer_certificates()
                    .into_iter()
                    .flatten()
                    .map(|certificate| certificate.clone().into_owned())
                    .collect();
                let alpn = session.alpn_protocol().map(|protocol| protocol == b"h2");
                let stream = Stream::other(stream);
                match alpn {
                    Some(is_http2) => Ok((Rewound::untouched(stream), is_http2)),
                    None => sniff(stream).await,
                }
            }
        }
    };
    let hello: std::io::Result<_> = tokio::select! {
        hello = timeout(patience, hello) => match hello {
            Ok(hello) => hello,
            Err(_) => return,
        },
        _ = leaving.wait_for(|draining| *draining) => return,
    };
    let (stream, is_http2) = match hello {
        Ok(hello) => hello,
        Err(error) => {
            tracing::debug!(%error, peer = %address, "no handshake");
            return;
        }
    };
    let service = (shared.make)(&peer);
    // Boxed: a peer that has said nothing yet is not to pay for what it may say.
    Box::pin(run(&shared.config, stream, is_http2, service, draining)).await;
}

/// Serves one connection that is there already, of which nothing has been read.
pub(crate) async fn serve_stream<T, S, B>(
    config: &ServerConfig,
    stream: T,
    service: S,
    mut draining: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let hello = tokio::select! {
        hello = timeout(config.header_timeout, sniff(Stream::other(stream))) => hello,
        _ = draining.wait_for(|draining| *draining) => return,
    };
    let Ok(Ok((stream, is_http2))) = hello else { return };
    run(config, stream, is_http2, service, draining).await;
}

async fn run<S, B>(
    config: &ServerConfig,
    stream: Rewound<Stream<TcpStream>>,
    is_http2: bool,
    service: S,
    draining: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let activity = Arc::new(Activity::default());
    let watchdog = Watchdog::new(Arc::clone(&activity), config, !is_http2);
    let (max_headers, normal_paths) = (config.max_headers, config.normal_paths);
    let check = Check { is_http2, max_headers, normal_paths };
    let service = Requests { service, activity: Arc::clone(&activity), check };
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_streams)
            .max_header_list_size(config.max_head_bytes)
            .serve_connection(TokioIo::new(Frames::new(stream, activity)), service);
        Box::pin(drive(connection, http2::Connection::graceful_shutdown, watchdog, draining)).await;
    } else {
        let mut builder = http1::Builder::new();
        // The watchdog times heads; hyper's own timer would cut idle connections with them.
        builder.header_read_timeout(None).max_buf_size(config.max_head_bytes as usize);
        if config.max_headers != HYPER_MAX_HEADERS {
            // Setting it moves hyper's header table from the stack to the heap.
            builder.max_headers(config.max_headers as usize);
        }
        let (gate, gone) =
            Gate::new(stream, Arc::clone(&activity), config.max_head_bytes, config.max_headers);
        let connection = builder.serve_connection(TokioIo::new(gate), service).with_upgrades();
        drive(connection, http1::UpgradeableConnection::graceful_shutdown, watchdog, draining)
            .await;
        if activity.has_switched() {
            // A tunnel keeps its place among the connections, and is cut with the last of them.
            let _ended = gone.await;
        }
    }
}

const HYPER_MAX_HEADERS: u32 = 100;

/// Why a connection is not simply run on.
enum End {
    Itself(hyper::Result<()>),
    Drain,
    Expired,
}

/// Runs the connection until it ends, the watchdog closes it, or the drain is over.
async fn drive<C>(
    connection: C,
    shut_down: fn(Pin<&mut C>),
    mut watchdog: Watchdog,
    mut draining: watch::Receiver<bool>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let ended = {
        let mut drain = pin!(draining.wait_for(|draining| *draining));
        poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Itself(result));
            }
            // A sender that is gone means that the server itself is.
            if drain.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Drain);
            }
            watchdog.poll_expired(cx).map(|()| End::Expired)
        })
        .await
    };
    let result = match ended {
        End::Itself(result) => result,
        End::Drain | End::Expired if watchdog.is_in_head() => return,
        End::Expired if watchdog.is_slow() => return,
        // The server itself cuts what does not end in time.
        End::Drain => {
            shut_down(connection.as_mut());
            connection.await
        }
        End::Expired => {
            shut_down(connection.as_mut());
            loop {
                // In HTTP/2 a goodbye waits for the peer's answer, and nobody makes it give one.
                match timeout(watchdog.patience(), connection.as_mut()).await {
                    Ok(result) => break result,
                    // A request that came just before the goodbye.
                    Err(_) if watchdog.is_busy() => {}
                    Err(_) => return,
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_arrives_in_the_same_breath_as_the_drain_is_answered() {
        let (mut client, server) = duplex(4_096);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("there is room");
        let (drain, draining) = watch::channel(false);
        drain.send_replace(true);
        let service = service_fn(|_| async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"served"))))
        });
        let server = Rewound::untouched(Stream::other(server));
        run(&ServerConfig::default(), server, false, service, draining).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("a text");
        assert!(answer.starts_with("HTTP/1.1 200"), "its handler had begun: {answer:?}");
        assert!(answer.ends_with("served"), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_that_does_not_answer_the_goodbye_is_let_go() {
        let (mut client, server) = duplex(65_536);
        // The preface, empty settings, and `GET /`; after that not a word, not even to a PING.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("there is room");
        client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("there is room");
        client.write_all(&[0, 0, 6, 1, 5, 0, 0, 0, 1]).await.expect("there is room");
        client.write_all(&[0x82, 0x86, 0x84, 0x41, 1, b'a']).await.expect("there is room");
        let (_drain, draining) = watch::channel(false);
        let service = service_fn(|_| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"served"))))
        });
        let config = ServerConfig::default();
        let server = Rewound::untouched(Stream::other(server));
        let running = run(&config, server, true, service, draining);
        let limit = config.idle_timeout * 2 + config.header_timeout;
        assert!(timeout(limit, running).await.is_ok(), "its place is free again");
    }
}
