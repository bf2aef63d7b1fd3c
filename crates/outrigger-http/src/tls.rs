//! TLS towards endpoints and towards callers, with the provider named and never the process-wide
//! default.

mod san;
mod server;

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use outrigger_core::{Address, Endpoint, Protocol};
use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use san::{BearsOneOf, San};
pub use server::ServerTls;

/// Why no TLS configuration came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A text is no PEM, or holds nothing of what it should.
    #[error("{what} cannot be read as PEM")]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// Why not, where the reader said so.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// The system has no roots, or none that can be read.
    #[error("the system's root certificates cannot be read")]
    NoNativeRoots,
    /// A name that certificates cannot bear.
    #[error("{name:?} is no name of a certificate; allowed is a DNS name, an IP address or a URI")]
    San {
        /// What was given.
        name: String,
    },
    /// rustls does not take it.
    #[error("the TLS configuration is not accepted")]
    Rustls(#[from] rustls::Error),
    /// Neither feature `aws-lc-rs` nor `ring` is on.
    #[error("no TLS provider is compiled in; switch on feature `aws-lc-rs` or `ring`")]
    NoProvider,
}

/// How the pool speaks TLS.
///
/// Which certificate is expected of an endpoint: the one for the name that its instance is
/// registered by, or, where that is an IP address, for the service's name. One name for all can be
/// given instead, or several of which the certificate must bear one.
///
/// Clones are the same: what [`replace`](Self::replace) changes, changes for all of them.
#[derive(Clone)]
pub struct ClientTls {
    configs: Arc<RwLock<Configs>>,
    server_name: Option<ServerName<'static>>,
}

/// The same configuration under two offers.
#[derive(Clone)]
struct Configs {
    either: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl ClientTls {
    /// Takes a ready configuration; what it says about ALPN is replaced by what an endpoint's
    /// protocol asks for.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>) -> Self {
        let mut either = Arc::unwrap_or_clone(config);
        either.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut http2 = either.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let configs = Configs { either: Arc::new(either), http2: Arc::new(http2) };
        Self { configs: Arc::new(RwLock::new(configs)), server_name: None }
    }

    /// Trusts the system's roots.
    ///
    /// # Errors
    /// [`TlsError::NoNativeRoots`] where there are none, and [`TlsError::NoProvider`].
    pub fn native() -> Result<Self, TlsError> {
        Self::build(native_roots()?, None)
    }

    /// Trusts the certificates of `ca`, or the system's roots without any, for endpoints whose
    /// certificate bears one of `sans`, whatever name they are called by.
    ///
    /// Shape: `ca` is PEM. A name of `sans` is a DNS name (a certificate's `*.fleet.example` bears
    /// `a.fleet.example`), an IP address, or a URI such as `spiffe://fleet/stock`, which is compared to
    /// the letter; empty means the usual name.
    ///
    /// # Errors
    /// [`TlsError`], for what is no PEM and for a name that no certificate can bear.
    pub fn with_sans<T: AsRef<str>>(
        ca: Option<&[u8]>,
        sans: impl IntoIterator<Item = T>,
    ) -> Result<Self, TlsError> {
        let roots = match ca {
            Some(ca) => roots(ca)?,
            None => native_roots()?,
        };
        let sans = sans.into_iter().map(|name| San::new(name.as_ref()));
        let sans = sans.collect::<Result<Vec<_>, _>>()?;
        if sans.is_empty() {
            return Self::build(roots, None);
        }
        let provider = provider()?;
        let verifier = BearsOneOf::new(roots, sans, &provider)?;
        // Nothing is left out of what is verified but that the name be the one that is called.
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self::new(Arc::new(config)))
    }

    /// Trusts the certificates of `ca` and, where given, shows a certificate of its own.
    ///
    /// Shape: PEM; `identity` is (certificate chain with the own one first, private key).
    ///
    /// # Errors
    /// [`TlsError`], for what is no PEM and for a key that does not belong to the certificate.
    pub fn from_pem(ca: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        Self::build(roots(ca)?, identity)
    }

    fn build(roots: RootCertStore, identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(
                certificates(chain, "the client certificate")?,
                private_key(key)?,
            )?,
        };
        Ok(Self::new(Arc::new(config)))
    }

    /// Expects the certificate of this name from every endpoint.
    #[must_use]
    pub fn with_server_name(mut self, name: ServerName<'static>) -> Self {
        self.server_name = Some(name);
        self
    }

    /// The configuration, with ALPN for HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.configs().either)
    }

    /// Takes over the configuration of `other`, for connections from now on; its name for all is
    /// not taken over. Sessions of before are not resumed: they were verified by other roots.
    pub fn replace(&self, other: &Self) {
        let other = other.configs();
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn configs(&self) -> Configs {
        self.configs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shakes hands; tells whether HTTP/2 was agreed on.
    pub(crate) async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        endpoint: &Endpoint,
        tcp: T,
    ) -> io::Result<(TlsStream<T>, bool)> {
        let is_http2_only = endpoint.protocol().is_http2_only();
        let Configs { either, http2 } = self.configs();
        let config = if is_http2_only { http2 } else { either };
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(endpoint),
        };
        let stream = TlsConnector::from(config).connect(name, tcp).await?;
        let is_http2 = match stream.get_ref().1.alpn_protocol() {
            Some(protocol) => protocol == b"h2",
            // Old gRPC servers do not agree on anything and speak HTTP/2 all the same.
            None => endpoint.protocol() == Protocol::Grpcs,
        };
        Ok((stream, is_http2))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds a private key.
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// The name that an endpoint's certificate has to be for.
fn server_name(endpoint: &Endpoint) -> ServerName<'static> {
    let instance = endpoint.instance();
    let name = match &instance.address {
        Address::Name(host, _) => host.as_ref(),
        _ => instance.service.as_str(),
    };
    ServerName::try_from(name.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(endpoint.address().ip().into()))
}

fn native_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoNativeRoots) } else { Ok(roots) }
}

fn roots(ca: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, "the CA certificate")? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source: Some(source) })?;
    if found.is_empty() {
        return Err(TlsError::Pem { what, source: None });
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|source| TlsError::Pem { what: "the private key", source: Some(source) })
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    Ok(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    Err(TlsError::NoProvider)
}
