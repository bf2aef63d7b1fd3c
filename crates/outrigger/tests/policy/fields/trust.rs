//! `tls`: which endpoints are believed.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use outrigger::core::{Protocol, Reason};
use outrigger::http::{Peer, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::net::TcpListener;

use crate::fleet::{Caller, Registry, policy};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// An endpoint that speaks TLS and bears a DNS name and a URI; ends with its runtime.
async fn endpoint(registry: &Registry, authority: &Authority, name: &str) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let uri = format!("spiffe://fleet/{name}").try_into().expect("ASCII");
    params.subject_alt_names.push(SanType::URI(uri));
    let chain = params.signed_by(&key, authority).expect("signed").pem();
    let server = Server::default()
        .with_tls_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None)
        .expect("valid PEM");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = |_: &Peer| {
        tower::service_fn(|_: Request<Incoming>| async {
            let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
            // Each request over a connection of its own, so that each shakes hands.
            response.headers_mut().insert("connection", "close".parse().expect("a word"));
            Ok::<_, Infallible>(response)
        })
    };
    tokio::spawn(server.serve(listener, answer, std::future::pending()));
    registry.put(address, |instance| instance.protocol = Protocol::Https);
}

/// A caller under a policy in a file, so that `ca` is beside it.
async fn caller(registry: &Registry, folder: &Path, tls: &str) -> Caller {
    let text = policy(&format!("eject: none\nretry: {{ attempts: 0 }}\ntls: {{ {tls} }}"));
    std::fs::write(folder.join("stock.yaml"), text).expect("written");
    let builder = registry.builder().policy(folder.join("stock.yaml"));
    Caller(builder.join().await.expect("valid settings"))
}

async fn is_believed(caller: &Caller) -> bool {
    match caller.get("/").await {
        Ok(response) => response.status() == 200,
        Err(error) => {
            assert_eq!(error.reason(), Some(Reason::ConnectFailure), "{error:?}");
            false
        }
    }
}

#[tokio::test]
async fn ca_sni_and_san_say_who_is_believed() {
    let authority = authority();
    for (name, tls, wanted) in [
        ("stock", "ca: ca.pem", true),
        ("stock", "ca: other.pem", false),
        ("inventory.internal", "ca: ca.pem", false),
        ("inventory.internal", "ca: ca.pem, sni: inventory.internal", true),
        ("inventory.internal", "ca: ca.pem, san: inventory.internal", true),
        ("inventory.internal", "ca: ca.pem, san: [a.internal, inventory.internal]", true),
        ("inventory.internal", "ca: ca.pem, san: \"spiffe://fleet/inventory.internal\"", true),
        ("inventory.internal", "ca: ca.pem, san: [a.internal]", false),
        // The name that is sent is no name that is believed, once names are given.
        ("inventory.internal", "ca: ca.pem, sni: inventory.internal, san: [a.internal]", false),
    ] {
        let registry = Registry::default();
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
        std::fs::write(folder.path().join("other.pem"), self::authority().pem()).expect("written");
        endpoint(&registry, &authority, name).await;
        let caller = caller(&registry, folder.path(), tls).await;
        assert_eq!(is_believed(&caller).await, wanted, "{name} by {tls}");
    }
}

#[tokio::test]
async fn roots_that_change_are_obeyed_within_a_second_and_nonsense_is_not() {
    let (old, new) = (authority(), authority());
    let registry = Registry::default();
    let folder = tempfile::tempdir().expect("a directory");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, old.pem()).expect("written");
    endpoint(&registry, &new, "stock").await;
    let caller = caller(&registry, folder.path(), "ca: ca.pem").await;
    assert!(!is_believed(&caller).await, "signed by somebody else");

    // As a rotation does it: written beside, and renamed.
    let beside = folder.path().join("ca.pem.new");
    std::fs::write(&beside, new.pem()).expect("written");
    std::fs::rename(&beside, &ca).expect("renamed");
    let started = outrigger::tower::clock::now();
    let believed = async {
        while !is_believed(&caller).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), believed).await.expect("obeyed");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");

    std::fs::write(&ca, "no certificate").expect("written");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_believed(&caller).await, "the last good roots stay");
    std::fs::remove_file(&ca).expect("removed");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_believed(&caller).await, "the last good roots stay");
}
