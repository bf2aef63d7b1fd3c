//! TLS towards callers.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{TlsError, certificates, private_key, provider};

/// How a server speaks TLS.
///
/// Clones are the same: what [`replace`](Self::replace) changes, changes for all of them.
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl ServerTls {
    /// Takes a ready configuration. Its ALPN list decides whether HTTP/2 is offered.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Shows a certificate, and offers HTTP/2 and HTTP/1.1; with `client_ca`, callers must show a
    /// certificate of it.
    ///
    /// Shape: PEM; the chain has the own certificate first.
    ///
    /// # Errors
    /// [`TlsError`], for what is no PEM and for a key that does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let provider = provider()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca, "the client CA certificate")? {
                    roots.add(certificate)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|_| TlsError::Pem {
                            what: "the client CA certificate",
                            source: None,
                        })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(certificates(chain, "the certificate")?, private_key(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self::new(Arc::new(config)))
    }

    /// Takes over the configuration of `other`, for connections from now on. Sessions of before are
    /// not resumed: whoever comes back sees the new certificate.
    pub fn replace(&self, other: &Self) {
        let other = other.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// The configuration for the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds a private key.
        f.write_str("ServerTls")
    }
}
