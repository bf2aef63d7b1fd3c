//! An instance of the service that is called: registered while it serves, and leaving in order.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger::consul::Consul;
use outrigger::discovery::{Check, Registrar as _, Registration};
use turmoil::net::TcpListener;

use crate::ledger::{Listener, Shared};
use crate::network;

/// The time to live of a registration.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// What callers get between an instance's leave and its end.
const NOTICE: Duration = Duration::from_secs(2);

/// Serves until it is killed or told to leave.
pub(crate) async fn run(ledger: Shared, index: usize) -> turmoil::Result {
    let name = format!("e{index}");
    let ip = turmoil::lookup(name.as_str());
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80);
    let listener = TcpListener::bind(address).await?;
    let consul = Consul::new(network::consul(Listener::observers(&ledger, &name), ledger.wait()))?;
    let registration = Registration::new("stock".parse()?, 80)
        .with_id(name.parse()?)
        .with_address(ip)
        .with_checks([Check::Ttl { ttl: TTL }]);
    let registered = consul.register(registration).await?;
    ledger.note(format_args!("{name} serves"));
    let mut leaves = ledger.leaves(index);
    loop {
        tokio::select! {
            biased;
            Ok(_) = leaves.wait_for(|leaves| *leaves) => break,
            accepted = listener.accept() => serve(accepted?.0),
        }
    }
    ledger.note(format_args!("{name} leaves"));
    let mut drained = Box::pin(registered.drain(NOTICE));
    let result = loop {
        tokio::select! {
            biased;
            result = &mut drained => break result,
            accepted = listener.accept() => serve(accepted?.0),
        }
    };
    ledger.left(index, result.is_ok());
    Ok(())
}

fn serve(stream: turmoil::net::TcpStream) {
    tokio::spawn(async move {
        let answer = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"here"))))
        });
        // Broken by the plan as often as not.
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    });
}
