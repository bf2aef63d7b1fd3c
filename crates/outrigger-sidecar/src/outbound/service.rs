//! One request of the application, to whomever it names.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::{Authority, Uri};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use outrigger::core::{Address, BoxError, Context, Reason, Rejected};
use outrigger::http::{Accepted, Asked, Server, ServerConfig, TunnelConfig, Upgrades, Wanted};
use outrigger::telemetry::Telemetry;
use outrigger::{Body, Client, DestinationError, ServiceClient, named_service};
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tower_service::Service;

use super::answer::{AnswerBody, refused};
use super::names::{Names, Standing};
use super::pass::{Barred, Pass};
use crate::Unknown;
use crate::correlate::Correlation;
use crate::inbound::REQUEST_ID;
use crate::listeners::OwnPlaces;

/// What all outbound connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) names: Names,
    pub(crate) pass: Pass,
    pub(crate) unknown: Unknown,
    pub(crate) telemetry: Telemetry,
    pub(crate) correlation: Arc<Correlation>,
    /// Who may reach what is no service.
    pub(crate) trust: crate::Trust,
    /// Where CONNECT may lead, beside services.
    pub(crate) connect: Vec<Address>,
    pub(crate) own: OwnPlaces,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) upgrades: Upgrades,
}

/// How outbound connections are served.
///
/// A path is left as the application wrote it: whoever is called decides what is the same to him,
/// and `%2F` in a name means something to some.
pub(crate) fn server() -> Server {
    let mut config = ServerConfig::default();
    config.drain = Duration::from_secs(1);
    config.normal_paths = false;
    Server::new(config)
}

/// Sends what the application asks for to whomever it names.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(super) shared: Arc<Shared>,
    /// The only service that this listener stands for.
    only: Option<ServiceClient>,
    peer: IpAddr,
}

impl Outbound {
    pub(crate) const fn new(
        shared: Arc<Shared>,
        only: Option<ServiceClient>,
        peer: IpAddr,
    ) -> Self {
        Self { shared, only, peer }
    }

    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Calls a service.
    fn send(&self, mut service: ServiceClient, mut request: Request<Incoming>) -> OutboundFuture {
        let wanted = match self.shared.upgrades.judge(&mut request) {
            Asked::Wanted(wanted) => Some(wanted),
            Asked::Refused => return OutboundFuture::refused(Reason::Forbidden),
            _ => None,
        };
        self.shared.correlate(&mut request);
        OutboundFuture::Service { inner: service.call(request), wanted }
    }
}

impl Service<Request<Incoming>> for Outbound {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = OutboundFuture;

    fn poll_ready(&mut self, _cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> OutboundFuture {
        if *request.method() == Method::CONNECT {
            let accepted = Accepted::take(&mut request);
            let authority = request.uri().authority().cloned();
            return match (accepted, authority) {
                (Some(accepted), Some(authority)) => {
                    let this = self.clone();
                    OutboundFuture::Slow { inner: Box::pin(this.connect(authority, accepted)) }
                }
                _ => OutboundFuture::refused(Reason::BadRequest),
            };
        }
        if let Some(only) = &self.only {
            // The name of a local port is nothing that the service knows.
            request.headers_mut().remove(HOST);
            strip_authority(request.uri_mut());
            return self.send(only.clone(), request);
        }
        // Nearly all of them: a name that was called before.
        let known = host(&request).and_then(|host| self.shared.client.known_service(host));
        if let Some(service) = known {
            return self.send(service, request);
        }
        let Some(authority) = authority(&request) else {
            return OutboundFuture::refused(Reason::BadRequest);
        };
        if let Some(service) = self.shared.client.known_service(authority.host()) {
            return self.send(service, request);
        }
        let this = self.clone();
        OutboundFuture::Slow { inner: Box::pin(this.decide(authority, request)) }
    }
}

impl Outbound {
    /// The first request to a name, and every one to what is no service.
    async fn decide(
        self,
        authority: Authority,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, BoxError> {
        let shared = &*self.shared;
        let host = authority.host();
        let named = named_service(host).ok();
        let standing = match &named {
            Some(named) => shared.names.standing(named).await,
            None => Standing::Stranger,
        };
        let is_near = self.is_near();
        match (standing, named) {
            (Standing::Service, Some(_)) => {
                let service = shared.client.service(host)?;
                self.send(service, request).await
            }
            // Ours by its ending, or it may be a service for all that is known.
            (Standing::Undecided, Some(named)) | (_, Some(named))
                if named.is_qualified
                    || standing == Standing::Undecided
                        && (shared.unknown == Unknown::Refuse || !host.contains('.')) =>
            {
                Err(Rejected::NoEndpoint { service: named.service }.into())
            }
            _ if shared.unknown == Unknown::Pass && is_near => self.pass(authority, request).await,
            _ => Err(refused(Reason::Forbidden)),
        }
    }

    /// Whether the caller may use us to reach what is no service.
    pub(super) fn is_near(&self) -> bool {
        self.peer.to_canonical().is_loopback()
            || self.shared.trust.networks.iter().any(|network| network.contains(self.peer))
    }

    async fn pass(
        &self,
        authority: Authority,
        mut request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, BoxError> {
        self.shared.correlate(&mut request);
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
        parts.authority = Some(authority);
        parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts)?;
        let sent = self.shared.pass.send(request.map(Body::new)).await;
        match sent {
            Ok(response) => Ok(response.map(|body| AnswerBody::Other { body })),
            Err(error) => match error.downcast_ref::<Barred>() {
                Some(Barred::Address) => Err(refused(Reason::Forbidden)),
                Some(Barred::Scheme) => Err(refused(Reason::BadRequest)),
                None => Err(error),
            },
        }
    }
}

impl Shared {
    /// Finds the inbound request that a call is made for, and gives it that one's trace, deadline
    /// and retries.
    fn correlate<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        // One look at each name is cheaper than to hash those that are hardly ever there.
        let (mut is_for_us, mut has_id) = (false, false);
        for name in headers.keys() {
            is_for_us |= *name == PROXY_AUTHORIZATION;
            has_id |= *name == REQUEST_ID;
        }
        if is_for_us {
            // What is for us goes no further.
            headers.remove(PROXY_AUTHORIZATION);
        }
        let found = self.telemetry.propagators().extract(headers);
        let known = if found.parent.is_valid() {
            self.correlation.of_trace(found.parent)
        } else if !has_id {
            None
        } else {
            let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
            id.and_then(|id| self.correlation.of_id(id))
        };
        self.correlation.count(known.is_some() || found.parent.is_valid());
        let Some(known) = known else { return };
        let mut context = Context::new(outrigger::tower::clock::now());
        context.deadline = known.deadline;
        context.attempt = known.attempt;
        // By its trace alone it keeps the very span that it names.
        if !found.parent.is_valid() {
            context.trace = known.trace;
        }
        request.extensions_mut().insert(context);
    }
}

/// The name in [`authority`], borrowed; `None` for what has more parts than a name and a port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => {
            let mut hosts = request.headers().get_all(HOST).iter();
            hosts.next().filter(|_| hosts.next().is_none())?.to_str().ok()?
        }
    };
    match authority.split_once(':') {
        None => Some(authority),
        Some((host, port)) => port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host),
    }
}

/// Whom a request names: the authority of its absolute form, else its `Host`.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = request.headers().get_all(HOST).iter();
            let host = hosts.next().filter(|_| hosts.next().is_none())?;
            Authority::try_from(host.as_bytes()).ok()?
        }
    };
    (!authority.host().is_empty() && !authority.as_str().contains('@')).then_some(authority)
}

/// Leaves path and query.
fn strip_authority(uri: &mut Uri) {
    if uri.authority().is_some() {
        let parts = std::mem::take(uri).into_parts();
        let path = parts.path_and_query;
        *uri = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")).into();
    }
}

pin_project! {
    /// The answer to one request of the application.
    #[project = FutureProj]
    pub(crate) enum OutboundFuture {
        Service { #[pin] inner: outrigger::ResponseFuture, wanted: Option<Wanted> },
        Slow { inner: Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, BoxError>> + Send>> },
        Refused { error: Option<BoxError> },
    }
}

impl OutboundFuture {
    fn refused(reason: Reason) -> Self {
        Self::Refused { error: Some(refused(reason)) }
    }
}

impl Future for OutboundFuture {
    type Output = Result<Response<AnswerBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Service { inner, wanted } => match ready!(inner.poll(cx)) {
                Ok(mut response) => {
                    if let Some(wanted) = wanted.take()
                        && let Some(tunnel) = wanted.join(&mut response, TunnelConfig::default())
                    {
                        tokio::spawn(tunnel.run());
                    }
                    Poll::Ready(Ok(response.map(|body| AnswerBody::Service { body })))
                }
                // A path that two readers could understand differently.
                Err(error) if error.is::<DestinationError>() => {
                    Poll::Ready(Err(refused(Reason::BadRequest)))
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            FutureProj::Slow { inner } => inner.as_mut().poll(cx),
            FutureProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}
