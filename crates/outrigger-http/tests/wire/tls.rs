//! TLS towards endpoints.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use outrigger_core::{Address, Endpoint, FailureKind, Instance, Protocol};
use outrigger_http::{ClientTls, Peer, Pool, PoolConfig, Server, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::net::TcpListener;
use tower::service_fn;

use crate::raw::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// (certificate, key) in PEM.
fn leaf(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
    let certificate = params.signed_by(&key, authority).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

/// Serves HTTP over TLS; the answer tells the version, and how many certificates the peer showed.
async fn serve(server: Server, protocol: Protocol) -> Endpoint {
    let (listener, endpoint) = listen_for(protocol).await;
    tokio::spawn(server.serve(listener, describe, std::future::pending()));
    endpoint
}

fn describe(
    peer: &Peer,
) -> impl tower::Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ use<> {
    let (is_tls, shown) = (peer.is_tls, peer.certificates.len());
    service_fn(move |request: Request<Incoming>| async move {
        let line = format!("{:?} tls={is_tls} shown={shown}", request.version());
        Ok::<_, Infallible>(Response::new(Full::from(line)))
    })
}

fn tls_pool(authority: &Authority, identity: Option<(&str, &str)>) -> Pool<Out> {
    let identity = identity.map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
    let tls = ClientTls::from_pem(authority.pem().as_bytes(), identity).expect("valid PEM");
    Pool::with_tls(PoolConfig::default(), tls)
}

fn server(authority: &Authority, name: &str) -> Server {
    let (chain, key) = leaf(authority, name);
    Server::default().with_tls_pem(chain.as_bytes(), key.as_bytes(), None).expect("valid PEM")
}

#[tokio::test]
async fn alpn_chooses_the_version_and_the_service_name_is_expected() {
    let authority = authority();
    for (protocol, wanted) in [
        (Protocol::Https, "HTTP/2.0 tls=true shown=0"),
        (Protocol::Grpcs, "HTTP/2.0 tls=true shown=0"),
    ] {
        let endpoint = serve(server(&authority, "stock"), protocol).await;
        let pool = tls_pool(&authority, None);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (pool, endpoint) = (pool.clone(), endpoint.clone());
                tokio::spawn(async move { get(&pool, &endpoint, "/").await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic").expect("answered"), wanted);
        }
        assert_eq!(pool.stats().opened, 1, "one connection tells what the endpoint speaks");
    }
}

#[tokio::test]
async fn an_endpoint_without_http2_is_spoken_to_in_http_1() {
    let authority = authority();
    let (chain, key) = leaf(&authority, "stock");
    let certificate = rustls_pki_types::pem::PemObject::from_pem_slice(chain.as_bytes());
    let key = rustls_pki_types::pem::PemObject::from_pem_slice(key.as_bytes());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
        .expect("they belong together");
    let endpoint = serve(Server::default().with_tls(Arc::new(config)), Protocol::Https).await;
    let pool = tls_pool(&authority, None);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, "/").await })
        })
        .collect();
    for task in tasks {
        let line = task.await.expect("no panic").expect("answered");
        assert_eq!(line, "HTTP/1.1 tls=true shown=0");
    }
    assert!(pool.stats().reused > 0 || pool.stats().opened == 20);
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_a_connect_failure_that_says_why() {
    let (ours, theirs) = (authority(), authority());
    for (authority, name) in [(&theirs, "stock"), (&ours, "orders")] {
        let endpoint = serve(server(authority, name), Protocol::Https).await;
        let pool = tls_pool(&ours, None);
        let failed = get(&pool, &endpoint, "/").await.expect_err("not to be trusted");
        assert_eq!(failed.kind, FailureKind::ConnectFailure);
        let cause = failed.cause.expect("it says why").to_string();
        assert!(cause.contains("certificate"), "{cause}");
        assert_eq!(pool.stats().connections, 0);
    }
}

#[tokio::test]
async fn an_endpoint_in_the_clear_is_a_connect_failure() {
    let (listener, endpoint) = listen_for(Protocol::Https).await;
    answer_all(listener, OK);
    let failed = get(&tls_pool(&authority(), None), &endpoint, "/").await.expect_err("no TLS");
    assert_eq!(failed.kind, FailureKind::ConnectFailure);
}

#[tokio::test]
async fn a_pool_without_tls_says_so() {
    let (listener, endpoint) = listen_for(Protocol::Https).await;
    answer_all(listener, OK);
    let failed = get(&pool(|_| {}), &endpoint, "/").await.expect_err("no TLS");
    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    let cause = failed.cause.expect("it says why").to_string();
    assert_eq!(cause, "the endpoint asks for TLS and the pool has no TLS configuration");
}

#[tokio::test]
async fn the_name_of_an_instance_registered_by_name_is_expected() {
    let authority = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(server(&authority, "node7.example").serve(
        listener,
        describe,
        std::future::pending(),
    ));
    let mut instance = Instance::new(
        "stock-1".parse().expect("valid id"),
        "stock".parse().expect("valid name"),
        Address::Name("node7.example".into(), address.port()),
    );
    instance.protocol = Protocol::Https;
    let endpoint = Endpoint::new(Arc::new(instance), address);
    get(&tls_pool(&authority, None), &endpoint, "/").await.expect("answered");
}

#[tokio::test]
async fn one_name_for_all_can_be_given() {
    let authority = authority();
    let endpoint = serve(server(&authority, "all.example"), Protocol::Https).await;
    let tls = ClientTls::from_pem(authority.pem().as_bytes(), None)
        .expect("valid PEM")
        .with_server_name("all.example".try_into().expect("a valid name"));
    let pool = Pool::with_tls(PoolConfig::default(), tls);
    get(&pool, &endpoint, "/").await.expect("answered");
}

#[tokio::test]
async fn one_of_several_names_is_enough_and_none_is_not() {
    let authority = authority();
    let key = KeyPair::generate().expect("a key");
    let mut params =
        CertificateParams::new(vec!["*.fleet.example".to_owned(), "127.0.0.9".to_owned()])
            .expect("names");
    let uri = "spiffe://fleet/ns/shop/sa/stock".try_into().expect("ASCII");
    params.subject_alt_names.push(SanType::URI(uri));
    let certificate = params.signed_by(&key, &authority).expect("signed");
    let server = Server::default()
        .with_tls_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), None)
        .expect("valid PEM");
    let endpoint = serve(server, Protocol::Https).await;
    let ca = authority.pem();
    let ask = async |ca: &str, sans: &[&str]| {
        let tls = ClientTls::with_sans(Some(ca.as_bytes()), sans).expect("names");
        get(&Pool::with_tls(PoolConfig::default(), tls), &endpoint, "/").await
    };
    for sans in [
        &["other.test", "stock.fleet.example"][..],
        &["spiffe://fleet/ns/shop/sa/stock"],
        &["127.0.0.9"],
    ] {
        ask(&ca, sans).await.unwrap_or_else(|failed| panic!("{sans:?}: {failed:?}"));
    }
    for sans in [
        &[][..],
        &["stock"],
        &["a.stock.fleet.example"],
        &["spiffe://fleet/ns/shop/sa/stock2", "spiffe://fleet/ns/shop/sa/stoc"],
        &["127.0.0.1"],
    ] {
        let failed = ask(&ca, sans).await.expect_err("it bears none of them");
        assert_eq!(failed.kind, FailureKind::ConnectFailure, "{sans:?}");
    }
    let foreign = self::authority().pem();
    ask(&foreign, &["stock.fleet.example"])
        .await
        .expect_err("a name is worth nothing without its root");
    let error = ClientTls::with_sans(Some(ca.as_bytes()), ["a b"]).expect_err("no name");
    assert!(error.to_string().contains("\"a b\""), "{error}");
}

#[tokio::test]
async fn roots_that_are_replaced_count_for_new_connections() {
    let (old, new) = (authority(), authority());
    let [first, second] = [&old, &new].map(|authority| server(authority, "stock"));
    let (first, second) =
        (serve(first, Protocol::Https).await, serve(second, Protocol::Https).await);
    let tls = ClientTls::from_pem(old.pem().as_bytes(), None).expect("valid PEM");
    let pool = Pool::with_tls(PoolConfig::default(), tls.clone());
    get(&pool, &first, "/").await.expect("by the old roots");
    get(&pool, &second, "/").await.expect_err("nobody knows them yet");
    tls.replace(&ClientTls::from_pem(new.pem().as_bytes(), None).expect("valid PEM"));
    get(&pool, &second, "/").await.expect("by the new roots");
    get(&pool, &first, "/").await.expect("its connection is there");
    pool.retain(|_| false);
    get(&pool, &first, "/").await.expect_err("and no session of before is taken up again");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = authority();
    let (chain, key) = leaf(&authority, "stock");
    let server = Server::new(ServerConfig::default())
        .with_tls_pem(chain.as_bytes(), key.as_bytes(), Some(authority.pem().as_bytes()))
        .expect("valid PEM");
    let endpoint = serve(server, Protocol::Https).await;

    let without = get(&tls_pool(&authority, None), &endpoint, "/").await;
    let failed = without.expect_err("nobody gets in without");
    assert!(failed.kind == FailureKind::ConnectFailure, "{failed:?}");

    let (chain, key) = leaf(&authority, "caller");
    let pool = tls_pool(&authority, Some((&chain, &key)));
    let line = get(&pool, &endpoint, "/").await.expect("answered");
    assert_eq!(line, "HTTP/2.0 tls=true shown=1");
}

#[test]
fn what_is_no_pem_is_named() {
    let error = ClientTls::from_pem(b"nonsense", None).expect_err("no PEM");
    assert_eq!(error.to_string(), "the CA certificate cannot be read as PEM");
    let authority = authority();
    let (chain, _) = leaf(&authority, "caller");
    let identity = Some((chain.as_bytes(), &b"nonsense"[..]));
    let error = ClientTls::from_pem(authority.pem().as_bytes(), identity).expect_err("no key");
    assert_eq!(error.to_string(), "the private key cannot be read as PEM");
}
