//! Connections that become something else: WebSocket and what else is configured, and `CONNECT`.
//!
//! The server half hands a request that asks for another protocol to the service like any other.
//! A proxy judges it by its [`Upgrades`]; what is [`Asked::Wanted`] it sends on by its pool, and
//! [joins](Wanted::join) the two connections when the endpoint agrees.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::pool::Held;
use crate::tunnel::{Carried, TunnelConfig, TunnelEnd, tunnel};

/// The protocols that a connection may be switched to; none by default.
///
/// Shape: names as in `Upgrade`, in lower case. Never `h2c`: what it asks for is had by speaking
/// HTTP/2 from the first byte, and a request that is answered twice over is how it is abused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    names: Arc<[Box<str>]>,
}

/// Why a protocol cannot be switched to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` cannot be upgraded to; allowed is the name of a protocol, as `websocket`, and not `h2c`"
)]
#[non_exhaustive]
pub struct UpgradeError {
    /// The name.
    pub name: String,
}

/// What a request asks of its connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Asked {
    /// Nothing that matters: `h2c` is passed over, as a server may.
    Nothing,
    /// Only what is not configured: to be answered with 403.
    Refused,
    /// Another protocol, which is configured.
    Wanted(Wanted),
}

impl Upgrades {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These.
    ///
    /// # Errors
    /// [`UpgradeError`] names the first that is no protocol's name, or is `h2c`.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, UpgradeError> {
        let names = names
            .into_iter()
            .map(|name| {
                let name = name.as_ref().to_ascii_lowercase();
                // A protocol's name has the letters of a header's.
                let is_name = name.split('/').all(|part| HeaderName::try_from(part).is_ok());
                if is_name && name != H2C { Ok(name.into()) } else { Err(UpgradeError { name }) }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { names })
    }

    /// Judges a request that the server half has handed over, and takes out of it what asks for
    /// another protocol. What is wanted is marked, so that the pool asks for it.
    ///
    /// Cost: one look at the request's extensions where nothing is asked for.
    #[inline]
    pub fn judge<B>(&self, request: &mut Request<B>) -> Asked {
        if request.extensions().get::<OnUpgrade>().is_none() || request.method() == Method::CONNECT
        {
            return Asked::Nothing;
        }
        self.judge_asking(request)
    }

    #[cold]
    fn judge_asking<B>(&self, request: &mut Request<B>) -> Asked {
        let offered: Vec<String> =
            tokens(request.headers(), &UPGRADE).map(str::to_ascii_lowercase).collect();
        let is_meant = tokens(request.headers(), &CONNECTION)
            .any(|token| token.eq_ignore_ascii_case("upgrade"));
        request.headers_mut().remove(UPGRADE);
        request.headers_mut().remove("http2-settings");
        let caller = request.extensions_mut().remove::<OnUpgrade>();
        let (Some(caller), true) = (caller, is_meant) else { return Asked::Nothing };
        let wanted = offered.iter().find(|name| self.names.iter().any(|known| **known == ***name));
        match wanted.and_then(|name| HeaderValue::from_str(name).ok()) {
            Some(name) => {
                request.extensions_mut().insert(Switch(name.clone()));
                Asked::Wanted(Wanted { caller, name })
            }
            None if offered.iter().all(|name| name == H2C) => Asked::Nothing,
            None => Asked::Refused,
        }
    }
}

const H2C: &str = "h2c";

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Has the pool ask an endpoint to switch to this protocol.
#[derive(Clone, Debug)]
pub(crate) struct Switch(HeaderValue);

impl Switch {
    /// Asks.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.0.clone());
    }

    /// Whether the endpoint agrees to this, and to nothing else.
    pub(crate) fn is_granted(&self, headers: &HeaderMap) -> bool {
        let mut granted = tokens(headers, &UPGRADE);
        granted.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(self.0.as_bytes()))
            && granted.next().is_none()
    }
}

/// The endpoint's end of a connection that switches, on its way in an answer's extensions.
#[derive(Clone)]
pub(crate) struct Switched(Arc<Mutex<Option<Far>>>);

/// What is to become a stream, and the connection's place in the pool.
type Far = (OnUpgrade, Box<dyn Held>);

impl Switched {
    pub(crate) fn new(on: OnUpgrade, lease: Box<dyn Held>) -> Self {
        Self(Arc::new(Mutex::new(Some((on, lease)))))
    }

    fn take(&self) -> Option<Far> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A caller's wish to switch to a protocol that is configured.
#[derive(Debug)]
pub struct Wanted {
    caller: OnUpgrade,
    name: HeaderValue,
}

impl Wanted {
    /// The protocol, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    /// Joins the two connections where the endpoint agreed; any other answer is passed on as it is.
    ///
    /// The answer, which gets its two headers back, has to be sent to the caller, and the tunnel to
    /// be run beside it.
    #[must_use = "what switches is carried by the tunnel"]
    pub fn join<B>(self, response: &mut Response<B>, config: TunnelConfig) -> Option<Tunnel> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let (endpoint, lease) = response.extensions_mut().remove::<Switched>()?.take()?;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.name);
        Some(Tunnel { caller: self.caller, endpoint, lease, config })
    }
}

/// Two connections that have become one.
pub struct Tunnel {
    caller: OnUpgrade,
    endpoint: OnUpgrade,
    lease: Box<dyn Held>,
    config: TunnelConfig,
}

impl Tunnel {
    /// Carries bytes both ways to the end; see [`tunnel`].
    ///
    /// # Cancel safety
    /// Dropping it closes both connections.
    pub async fn run(self) -> Carried {
        let both = async { tokio::try_join!(self.caller, self.endpoint) };
        let carried = match timeout(self.config.idle_timeout, both).await {
            Ok(Ok((caller, endpoint))) => {
                tunnel(TokioIo::new(caller), TokioIo::new(endpoint), self.config).await
            }
            Ok(Err(_)) => Carried { end: TunnelEnd::Broken, ..Carried::default() },
            Err(_) => Carried { end: TunnelEnd::Idle, ..Carried::default() },
        };
        drop(self.lease);
        carried
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The bytes of a caller whose `CONNECT` is going to be answered with a 2xx.
#[derive(Debug)]
pub struct Accepted {
    caller: OnUpgrade,
}

/// The connection ended before it was a tunnel.
#[derive(Debug, thiserror::Error)]
#[error("the connection ended before it was a tunnel")]
#[non_exhaustive]
pub struct NotConnected(#[source] hyper::Error);

impl Accepted {
    /// Takes them out of a `CONNECT` request; `None` for any other.
    pub fn take<B>(request: &mut Request<B>) -> Option<Self> {
        if request.method() != Method::CONNECT {
            return None;
        }
        request.extensions_mut().remove::<OnUpgrade>().map(|caller| Self { caller })
    }

    /// The bytes, once the answer has been sent; to be waited for beside it.
    ///
    /// # Errors
    /// [`NotConnected`] for a caller who has left, and for an answer that is no 2xx.
    pub async fn stream(
        self,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, NotConnected> {
        self.caller.await.map(TokioIo::new).map_err(NotConnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_protocols_can_be_upgraded_to() {
        let upgrades = Upgrades::new(["WebSocket", "tls/1.2"]).expect("names");
        assert_eq!(upgrades, Upgrades::new(["websocket", "TLS/1.2"]).expect("names"));
        for name in ["h2c", "H2C", "", "web socket", "a,b", "a/"] {
            let error = Upgrades::new([name]).expect_err(name).to_string();
            assert!(error.contains(&name.to_ascii_lowercase()), "{error}");
        }
    }
}
