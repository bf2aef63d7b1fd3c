//! TLS to the agent: authorities, client certificates, names; and a Unix socket.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_consul::{AgentAddress, Consul, ConsulConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An authority, a server `server.dc1.consul`, and a client; PEM files beside each other.
    fn make() -> Self {
        let files = Self { dir: tempfile::tempdir().expect("a directory") };
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let ca = ca.expect("an authority");
        fs::write(files.path("ca.pem"), ca.pem()).expect("written");
        for name in ["server.dc1.consul", "client.dc1.consul"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let cert = params.signed_by(&key, &ca).expect("a certificate");
            let short = &name[..6];
            fs::write(files.path(&format!("{short}.pem")), cert.pem()).expect("written");
            fs::write(files.path(&format!("{short}.key")), key.serialize_pem()).expect("written");
        }
        files
    }

    fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
        let read = CertificateDer::pem_file_iter(path).expect("a file");
        read.collect::<Result<_, _>>().expect("certificates")
    }

    /// Starts an agent that asks for a client certificate.
    async fn serve(&self) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in Self::certificates(&self.path("ca.pem")) {
            roots.add(certificate).expect("an authority");
        }
        let roots = Arc::new(roots);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.expect("a verifier"))
            .with_single_cert(Self::certificates(&self.path("server.pem")), key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream).await;
                    }
                });
            }
        });
        address
    }

    fn config(&self, address: SocketAddr) -> ConsulConfig {
        let address: AgentAddress = format!("https://{address}").parse().expect("an address");
        let mut config = ConsulConfig::new(address);
        config.tls.ca = Some(self.path("ca.pem"));
        config.tls.cert = Some(self.path("client.pem"));
        config.tls.key = Some(self.path("client.key"));
        config.tls.server_name = Some("server.dc1.consul".into());
        config
    }
}

/// Says 404 to everything, as an agent does for a key that is not there.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
        let head = b"HTTP/1.1 404 Not Found\r\nX-Consul-Index: 1\r\nContent-Length: 0\r\n\r\n";
        if stream.write_all(head).await.is_err() {
            return;
        }
    }
}

async fn works(config: ConsulConfig) -> Result<(), String> {
    let consul = Consul::new(config).map_err(|error| error.to_string())?;
    let read = consul.kv().get("outrigger/policy/stock").await;
    read.map(|entry| assert_eq!(entry, None)).map_err(|error| error.class().to_owned())
}

#[tokio::test]
async fn a_client_certificate_and_the_servers_name_are_used() {
    let files = Files::make();
    let address = files.serve().await;
    assert_eq!(works(files.config(address)).await, Ok(()));

    let mut wrong = files.config(address);
    wrong.tls.server_name = Some("other.dc1.consul".into());
    assert_eq!(works(wrong.clone()).await, Err("unreachable".into()), "another name");
    wrong.tls.verify = false;
    assert_eq!(works(wrong).await, Ok(()), "not checked");

    let mut nameless = files.config(address);
    nameless.tls.server_name = None;
    assert_eq!(works(nameless).await, Err("unreachable".into()), "127.0.0.1 is not certified");

    let mut stranger = files.config(address);
    (stranger.tls.cert, stranger.tls.key) = (None, None);
    assert_eq!(works(stranger).await, Err("unreachable".into()), "no client certificate");

    let other = Files::make();
    let mut foreign = files.config(address);
    foreign.tls.ca = Some(other.path("ca.pem"));
    assert_eq!(works(foreign).await, Err("unreachable".into()), "another authority");
}

#[tokio::test]
async fn a_file_that_is_missing_or_holds_nothing_is_named() {
    let files = Files::make();
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut missing = files.config(address);
    missing.tls.ca = Some(files.path("absent.pem"));
    let error = works(missing).await.expect_err("no file");
    assert!(error.contains("tls.ca") && error.contains("absent.pem"), "{error}");
    fs::write(files.path("empty.pem"), "nothing\n").expect("written");
    let mut empty = files.config(address);
    empty.tls.cert = Some(files.path("empty.pem"));
    let error = works(empty).await.expect_err("no certificate");
    assert!(error.contains("tls.cert") && error.contains("empty.pem"), "{error}");
}

#[tokio::test]
async fn a_unix_socket_is_spoken_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("consul.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let address = format!("unix://{}", path.display()).parse().expect("an address");
    assert_eq!(works(ConsulConfig::new(address)).await, Ok(()));
}
