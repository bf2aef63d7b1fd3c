//! The client of the exporters: one kept connection to one collector.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use outrigger_core::BoxError;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// Most bytes of an answer that are read; a collector says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a message did not get an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the runtime is gone")]
    RuntimeGone,
    #[error("{0} is not spoken: the address must start with http://")]
    Scheme(String),
    #[error("the collector answered {0}")]
    Refused(http::StatusCode),
}

/// Sends messages to one collector, each on the runtime whatever thread asks for it.
///
/// The SDK's batch processor has a thread of its own without a reactor; a client that opened its
/// socket there would panic.
#[derive(Clone)]
pub(crate) struct ExportClient {
    runtime: Handle,
    timeout: Duration,
    kept: Arc<Mutex<Option<SendRequest<Full<Bytes>>>>>,
}

impl ExportClient {
    pub(crate) fn new(runtime: &Handle, timeout: Duration) -> Self {
        Self { runtime: runtime.clone(), timeout, kept: Arc::default() }
    }

    /// Sends one message and waits for the whole answer, on the runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the sending under way, until its timeout.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        let (kept, limit) = (Arc::clone(&self.kept), self.timeout);
        let sending = self.runtime.spawn(async move {
            match tokio::time::timeout(limit, exchange(&kept, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(ExportError::Timeout(limit).into()),
            }
        });
        sending.await.unwrap_or_else(|_| Err(ExportError::RuntimeGone.into()))
    }
}

impl fmt::Debug for ExportClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpClient for ExportClient {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

async fn exchange(
    kept: &Mutex<Option<SendRequest<Full<Bytes>>>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, BoxError> {
    let (head, body) = request.into_parts();
    let target = head.uri.clone();
    let mut kept = kept.lock().await;
    // Taken out while it is in use: an exchange that is cut short must not leave a connection
    // behind that is in the middle of an answer.
    let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => connect(&target).await?,
    };
    let wire = |body: Bytes| {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = path.parse().unwrap_or_default();
        let host = target.authority().and_then(|a| a.as_str().parse().ok());
        request.headers_mut().extend(host.map(|host| (header::HOST, host)));
        request
    };
    let answer = match sender.send_request(wire(body.clone())).await {
        // The collector closed the kept connection before it took the message.
        Err(error) if error.is_canceled() || error.is_closed() => {
            sender = connect(&target).await?;
            sender.send_request(wire(body)).await?
        }
        answer => answer?,
    };
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    *kept = Some(sender);
    Ok(Response::from_parts(head, body))
}

async fn connect(target: &Uri) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = target.port_u16();
    let sender = match target.scheme_str() {
        Some("http") => {
            let stream = TcpStream::connect((host, port.unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends when the sender is dropped or the collector closes it.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            sender
        }
        other => return Err(ExportError::Scheme(other.unwrap_or_default().to_owned()).into()),
    };
    Ok(sender)
}
