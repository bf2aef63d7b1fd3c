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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::config::OtlpTls;

/// Most bytes of an answer that are read; a collector says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a message did not get an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the runtime is gone")]
    RuntimeGone,
    #[error("`https` needs the feature `tls`")]
    NoTls,
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
    tls: Tls,
    kept: Arc<Mutex<Option<SendRequest<Full<Bytes>>>>>,
}

impl ExportClient {
    pub(crate) fn new(runtime: &Handle, timeout: Duration, tls: Tls) -> Self {
        Self { runtime: runtime.clone(), timeout, tls, kept: Arc::default() }
    }

    #[cfg(feature = "logs")]
    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Sends one message and waits for the whole answer, on the runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the sending under way, until its timeout.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        let (kept, tls, limit) = (Arc::clone(&self.kept), self.tls.clone(), self.timeout);
        let sending = self.runtime.spawn(async move {
            match tokio::time::timeout(limit, exchange(&kept, &tls, request)).await {
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
    tls: &Tls,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, BoxError> {
    let (head, body) = request.into_parts();
    let target = head.uri.clone();
    let mut kept = kept.lock().await;
    // Taken out while it is in use: an exchange that is cut short must not leave a connection
    // behind that is in the middle of an answer.
    let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => connect(&target, tls).await?,
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
            sender = connect(&target, tls).await?;
            sender.send_request(wire(body)).await?
        }
        answer => answer?,
    };
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    *kept = Some(sender);
    Ok(Response::from_parts(head, body))
}

async fn connect(target: &Uri, tls: &Tls) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    // The scheme is one of the two since the configuration was read.
    let is_tls = target.scheme_str() == Some("https");
    let port = target.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if is_tls { over_tls(tls, host, stream).await } else { speak(stream).await }
}

async fn speak<T>(stream: T) -> Result<SendRequest<Full<Bytes>>, BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped or the collector closes it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

#[cfg(feature = "tls")]
async fn over_tls(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from(host.to_owned())?;
    let config = tls.0.clone().ok_or(ExportError::NoTls)?;
    let connector = tokio_rustls::TlsConnector::from(config);
    speak(connector.connect(name, stream).await?).await
}

#[cfg(not(feature = "tls"))]
async fn over_tls(
    _tls: &Tls,
    _host: &str,
    _stream: TcpStream,
) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    Err(ExportError::NoTls.into())
}

/// Whom a client trusts, and who it is.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(crate) struct Tls(Option<Arc<tokio_rustls::rustls::ClientConfig>>);

/// Nothing: TLS is not compiled in.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(crate) struct Tls;

impl Tls {
    /// Reads the files; nothing is read when no address is behind TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn load(files: &OtlpTls, addresses: &[&Uri]) -> Result<Self, BoxError> {
        use outrigger_http::ClientTls;
        use tokio_rustls::rustls::ClientConfig;

        if !addresses.iter().any(|uri| uri.scheme_str() == Some("https")) {
            return Ok(Self(None));
        }
        let identity = match (&files.client_certificate, &files.client_key) {
            (Some(chain), Some(key)) => Some((std::fs::read(chain)?, std::fs::read(key)?)),
            _ => None,
        };
        let tls = match &files.certificate {
            Some(ca) => {
                let identity = identity.as_ref().map(|(c, k)| (c.as_slice(), k.as_slice()));
                ClientTls::from_pem(&std::fs::read(ca)?, identity)?
            }
            None => ClientTls::native()?,
        };
        let mut config = ClientConfig::clone(&tls.config());
        // This client speaks nothing else.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Some(Arc::new(config))))
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn load(_files: &OtlpTls, addresses: &[&Uri]) -> Result<Self, BoxError> {
        if addresses.iter().any(|uri| uri.scheme_str() == Some("https")) {
            return Err(ExportError::NoTls.into());
        }
        Ok(Self)
    }
}
