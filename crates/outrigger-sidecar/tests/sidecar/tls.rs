//! Callers that come in over TLS, and a certificate that changes while they do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger::core::Protocol;
use outrigger::http::ClientTls;
use outrigger_sidecar::{Application, Config, Sidecar, TlsFiles};
use outrigger_testkit::{Scripted, Step};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stage::{Answer, Beside, Stage, get, raw};

/// An authority, and a folder with what it signed.
struct Shop {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Shop {
    fn open() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("signed");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
        Self { authority, folder }
    }

    /// (certificate, key) in PEM.
    fn leaf(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["inventory".to_owned()]).expect("a name");
        (params.signed_by(&key, &self.authority).expect("signed").pem(), key.serialize_pem())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.path("tls.crt"), key: self.path("tls.key") }
    }

    /// Puts a new certificate where the sidecar reads it, the way that programs do.
    fn renew(&self) {
        let (cert, key) = self.leaf();
        write(&self.path("tls.key"), key.as_bytes());
        write(&self.path("tls.crt"), cert.as_bytes());
    }

    /// A connection of a caller that offers these protocols.
    async fn connect(&self, at: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let tls = ClientTls::from_pem(self.authority.pem().as_bytes(), None).expect("PEM");
        let mut config = Arc::unwrap_or_clone(tls.config());
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(at).await.expect("it listens");
        let name = "inventory".try_into().expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")
    }
}

fn write(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> Answer {
    let ask = b"GET /stock HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).await.expect("it reads");
    let mut answer = Vec::new();
    // Without a goodbye it would be an error.
    stream.read_to_end(&mut answer).await.expect("it answers and closes in order");
    Answer::read(&answer)
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("it showed some")[0].to_vec()
}

async fn inventory(stage: &Stage, shop: &Shop, app: SocketAddr) -> Beside {
    let mut config = stage.config("inventory");
    config.application = Some(Application::Tcp(app));
    config.tls = Some(shop.files());
    let inventory = stage.start(config).await;
    inventory.running.fleet().registered().await;
    inventory
}

async fn admin(beside: &Beside, path: &str) -> String {
    get(beside.running.addresses().admin, path, &[]).await.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_come_in_over_tls_in_both_versions_and_nobody_in_the_clear() {
    let (stage, shop) = (Stage::new(), Shop::open());
    shop.renew();
    let app = Scripted::start([Step::answer(200).with_body("42 left")]).await.expect("a port");
    let inventory = inventory(&stage, &shop, app.address()).await;
    let snapshot = stage.registry.instances(&"inventory".parse().expect("a name"));
    assert_eq!(snapshot[0].protocol, Protocol::Https, "callers are told so");

    let policy = "version: 1\nservice: inventory\ntls: { ca: ca.pem }\n";
    let policies = shop.path("inventory.yaml");
    std::fs::write(&policies, policy).expect("written");
    let mut config = stage.config("orders");
    config.policies.push(policies);
    let orders = stage.start(config).await;
    let answer = get(orders.outbound(), "http://inventory/stock/42", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "42 left"));
    assert_eq!(app.seen()[0].header("x-forwarded-proto"), Some("https"));
    assert_eq!(app.seen()[0].header("x-outrigger-caller"), Some("orders"));

    for (offer, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut stream = shop.connect(inventory.inbound(), offer).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offer:?}");
        if agreed != Some(b"h2") {
            assert_eq!(ask(&mut stream).await.body, "42 left");
        }
    }

    let before = app.seen().len();
    let plain = get(inventory.inbound(), "/stock", &[]).await;
    assert_eq!((plain.status, plain.header("x-outrigger-reason")), (400, Some("bad_request")));
    assert_eq!(plain.body, "this port speaks TLS: use https\n");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut tcp = TcpStream::connect(inventory.inbound()).await.expect("it listens");
    tcp.write_all(preface).await.expect("it reads");
    tcp.shutdown().await.expect("all was said");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.expect("it answers");
    assert_eq!(answer[3], 4, "its settings");
    assert_eq!((answer[12], &answer[22..26]), (7, &[0, 0, 0, 0xc][..]), "GOAWAY: no security");
    assert!(answer.ends_with(b"this port speaks TLS: use https"));
    let noise = raw(inventory.inbound(), &[0x16, 3, 1, 0, 2, 1, 1]).await;
    assert!(noise.is_empty() || noise[0] == 21, "an alert at most: {noise:?}");
    assert_eq!(app.seen().len(), before, "the application saw nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_taken_over_as_it_changes_and_a_bad_one_is_not() {
    let (stage, shop) = (Stage::new(), Shop::open());
    shop.renew();
    let app = Scripted::start([Step::answer(200)]).await.expect("a port");
    let inventory = inventory(&stage, &shop, app.address()).await;
    let mut asked = 0;
    let mut handshake = async || {
        let mut stream = shop.connect(inventory.inbound(), &["http/1.1"]).await;
        assert_eq!(ask(&mut stream).await.status, 200);
        asked += 1;
        shown(&stream)
    };
    let first = handshake().await;
    shop.renew();
    let second = loop {
        let shown = handshake().await;
        if shown != first {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    write(&shop.path("tls.crt"), b"nonsense");
    let error = || async {
        let state = admin(&inventory, "/api/v1/state").await;
        let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
        state["tls"]["error"].as_str().map(str::to_owned)
    };
    let told = loop {
        assert_eq!(handshake().await, second, "the last good one stays");
        if let Some(told) = error().await {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.contains("the certificate cannot be read as PEM"), "{told}");

    shop.renew();
    while error().await.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(handshake().await, second);
    println!("TLS: {asked} handshakes over two renewals and a bad file, 0 failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_ends_the_start_and_names_the_file() {
    let (stage, shop) = (Stage::new(), Shop::open());
    let config = || -> Config {
        let mut config = stage.config("inventory");
        config.application = Some(Application::Tcp(([127, 0, 0, 1], 9).into()));
        config.tls = Some(shop.files());
        config
    };
    let error = Sidecar::bind(config()).await.expect_err("there is no file");
    assert!(error.is_usage() && error.to_string().contains("--tls-cert"), "{error}");
    shop.renew();
    let (_, foreign) = shop.leaf();
    write(&shop.path("tls.key"), foreign.as_bytes());
    let error = Sidecar::bind(config()).await.expect_err("another certificate's key");
    assert!(error.is_usage() && error.to_string().contains("tls.crt"), "{error}");
}
