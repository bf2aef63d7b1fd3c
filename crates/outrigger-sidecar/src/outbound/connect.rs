//! `CONNECT`: to services with all rules, and as bytes to where it was allowed to lead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::uri::Authority;
use outrigger::core::{Address, BoxError, Failed, FailureKind, Reason, Rejected};
use outrigger::http::{Accepted, TunnelConfig, tunnel};
use outrigger::tower::RefuseLayer;
use outrigger::{NamedService, named_service};
use tokio::net::TcpStream;
use tower_layer::Layer;

use super::answer::{AnswerBody, refused};
use super::names::Standing;
use super::pass::{Unresolved, resolve};
use super::service::{Outbound, Shared, server};

/// Time for a tunnel's connection to be there.
const PATIENCE: Duration = Duration::from_secs(5);

impl Outbound {
    /// Answers `CONNECT`.
    pub(super) async fn connect(
        self,
        authority: Authority,
        accepted: Accepted,
    ) -> Result<Response<AnswerBody>, BoxError> {
        let host = authority.host();
        let port = authority.port_u16().unwrap_or_default();
        let allowed = self.shared.connect.iter().any(|target| is(target, host, port));
        if allowed {
            if !self.is_near() {
                return Err(refused(Reason::Forbidden));
            }
            return self.tunnel(host, port, accepted).await;
        }
        let named = named_service(host).ok();
        let standing = match &named {
            Some(named) => self.shared.names.standing(named).await,
            None => Standing::Stranger,
        };
        match (standing, named) {
            (Standing::Service, Some(_)) => self.serve(host, accepted),
            (_, Some(NamedService { service, is_qualified: true, .. }))
            | (Standing::Undecided, Some(NamedService { service, .. })) => {
                Err(Rejected::NoEndpoint { service }.into())
            }
            _ => Err(refused(Reason::Forbidden)),
        }
    }

    /// Serves what comes as an outbound connection to one service: clients that know no other way
    /// through a proxy get every rule all the same.
    fn serve(self, host: &str, accepted: Accepted) -> Result<Response<AnswerBody>, BoxError> {
        let only = self.shared.client.service(host)?;
        let shared: Arc<Shared> = Arc::clone(&self.shared);
        let peer = self.peer();
        tokio::spawn(async move {
            let Ok(stream) = accepted.stream().await else { return };
            let mut stop = shared.stop.clone();
            let service = RefuseLayer::new().layer(Self::new(shared, Some(only), peer));
            let stopped = async move {
                let _ = stop.wait_for(|stop| *stop).await;
            };
            server().serve_stream(stream, service, stopped).await;
        });
        Ok(connected())
    }

    /// Carries bytes.
    async fn tunnel(
        &self,
        host: &str,
        port: u16,
        accepted: Accepted,
    ) -> Result<Response<AnswerBody>, BoxError> {
        let failed = |error: std::io::Error| -> BoxError {
            Failed::new(FailureKind::ConnectFailure).with_cause(error).into()
        };
        let address: SocketAddr = match resolve(host, port, &self.shared.own).await {
            Ok(address) => address,
            Err(Unresolved::Barred(_)) => return Err(refused(Reason::Forbidden)),
            Err(Unresolved::Dns(error)) => return Err(failed(error)),
        };
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        let late = || std::io::ErrorKind::TimedOut.into();
        let far = connecting.unwrap_or_else(|_| Err(late())).map_err(failed)?;
        let mut stop = self.shared.stop.clone();
        tokio::spawn(async move {
            let Ok(near) = accepted.stream().await else { return };
            tokio::select! {
                carried = tunnel(near, far, TunnelConfig::default()) => {
                    tracing::debug!(?carried, "tunnel ended");
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        Ok(connected())
    }
}

fn connected() -> Response<AnswerBody> {
    Response::new(AnswerBody::Empty)
}

fn is(target: &Address, host: &str, port: u16) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match target {
        Address::Socket(address) => {
            address.port() == port
                && bare.parse().is_ok_and(|ip: std::net::IpAddr| ip == address.ip())
        }
        Address::Name(name, at) => *at == port && name.eq_ignore_ascii_case(bare),
        _ => false,
    }
}
