//! HTTP/1.1 to one agent, over connections that are kept.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use outrigger_core::BoxError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_rustls::TlsConnector;

use crate::tls::Tls;
use crate::{AgentAddress, Dial};

/// One connection, ready for a question.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Rises with every connection of its lane.
    pub(crate) born: u64,
}

/// What went wrong on the wire.
#[derive(Debug)]
pub(crate) enum WireError {
    /// No connection, or it broke: nothing that could be believed or doubted came.
    Unreachable(BoxError),
    /// Something came that is not an answer.
    Answer(&'static str, BoxError),
    /// The body is longer than allowed.
    TooLong,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Where connections go.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: AgentAddress,
    pub(crate) tls: Option<Tls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_answer: usize,
    pub(crate) dialer: Arc<dyn Dial>,
    /// Every open connection holds one more of it, which is how they are counted.
    pub(crate) open: Arc<()>,
}

/// Some connections to one agent, for one purpose: a heartbeat never stands behind a watch.
///
/// A connection carries one question at a time. One whose question was dropped half-way is closed,
/// so that the agent forgets the question too.
#[derive(Debug)]
pub(crate) struct Lane {
    target: Arc<Target>,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    born: AtomicU64,
}

impl Lane {
    pub(crate) const fn new(target: Arc<Target>, connections: usize) -> Self {
        Self {
            target,
            permits: Semaphore::const_new(connections),
            idle: Mutex::new(Vec::new()),
            born: AtomicU64::new(0),
        }
    }

    /// Waits for one's turn, first come, first served. The permit goes into [`Lane::send`].
    pub(crate) async fn admit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// A connection that was kept and is still open, if there is one, or else a new one.
    pub(crate) async fn connection(&self) -> Result<Connection, WireError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(kept) if kept.sender.is_closed() => {}
                Some(kept) => return Ok(kept),
                None => {
                    let sender = connect(&self.target).await.map_err(WireError::Unreachable)?;
                    let born = self.born.fetch_add(1, Ordering::Relaxed) + 1;
                    return Ok(Connection { sender, born });
                }
            }
        }
    }

    /// The number of the newest connection.
    pub(crate) fn newest(&self) -> u64 {
        self.born.load(Ordering::Relaxed)
    }

    /// Sends a question over any connection and reads the whole answer. The caller bounds the time.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        _permit: &SemaphorePermit<'_>,
    ) -> Result<Reply, WireError> {
        loop {
            let newest = self.newest();
            let mut connection = self.connection().await?;
            let kept = connection.born <= newest;
            match connection.sender.try_send_request(request).await {
                Ok(response) => return self.finish(connection, response).await,
                Err(mut error) => match error.take_message() {
                    // The agent closed the kept connection before it saw the question.
                    Some(unsent) if kept => request = unsent,
                    _ => return Err(judge(error.into_error())),
                },
            }
        }
    }

    /// Sends a question over one connection and no other.
    pub(crate) async fn send_over(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        _permit: &SemaphorePermit<'_>,
    ) -> Result<Reply, WireError> {
        let response = connection.sender.send_request(request).await.map_err(judge)?;
        self.finish(connection, response).await
    }

    async fn finish(
        &self,
        mut connection: Connection,
        response: http::Response<Incoming>,
    ) -> Result<Reply, WireError> {
        let (head, body) = response.into_parts();
        // None was asked for; taken as it is, a small answer could unfold to any length.
        let encoding = head.headers.get(header::CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|value| value.as_bytes() != b"identity") {
            let found = format!("content-encoding {encoding:?} was not asked for");
            return Err(WireError::Answer("encoding", found.into()));
        }
        let body = collect(body, &head.headers, self.target.max_answer).await?;
        if poll_fn(|cx| connection.sender.poll_ready(cx)).await.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(Reply { status: head.status, headers: head.headers, body })
    }
}

fn judge(error: hyper::Error) -> WireError {
    if error.is_parse() || error.is_parse_status() {
        WireError::Answer("not_http", error.into())
    } else {
        WireError::Unreachable(error.into())
    }
}

async fn collect(mut body: Incoming, head: &HeaderMap, most: usize) -> Result<Bytes, WireError> {
    let length = head.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > most) {
        return Err(WireError::TooLong);
    }
    // What is announced is not believed before it comes: at most 1 MiB is set aside.
    let mut whole = BytesMut::with_capacity(length.unwrap_or(4096).min(1 << 20));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let eof = |kind| kind == io::ErrorKind::UnexpectedEof;
            let io = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
            let cut = error.is_incomplete_message() || io.is_some_and(|e| eof(e.kind()));
            WireError::Answer(if cut { "truncated" } else { "broken_body" }, error.into())
        })?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > most {
                return Err(WireError::TooLong);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

async fn connect(target: &Target) -> Result<http1::SendRequest<Full<Bytes>>, BoxError> {
    let connecting = async {
        match &target.address {
            AgentAddress::Tcp { host, port, .. } => {
                let stream = target.dialer.dial(host, *port).await?;
                match &target.tls {
                    None => handshake(stream, &target.open).await,
                    Some(tls) => {
                        let connector = TlsConnector::from(Arc::clone(&tls.config));
                        let stream = connector.connect(tls.name.clone(), stream).await?;
                        handshake(stream, &target.open).await
                    }
                }
            }
            #[cfg(unix)]
            AgentAddress::Unix(path) => {
                handshake(tokio::net::UnixStream::connect(path).await?, &target.open).await
            }
            #[cfg(not(unix))]
            AgentAddress::Unix(_) => Err("no unix sockets here".into()),
        }
    };
    tokio::time::timeout(target.connect_timeout, connecting).await?
}

async fn handshake<S>(
    stream: S,
    open: &Arc<()>,
) -> Result<http1::SendRequest<Full<Bytes>>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(64).max_buf_size(256 << 10);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let open = Arc::clone(open);
    // Ends by itself when the sender is dropped or the agent closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection to the agent ended");
        }
        drop(open);
    });
    Ok(sender)
}
