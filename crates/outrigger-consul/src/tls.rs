//! TLS to Consul.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::TlsConfig;
use crate::{AgentAddress, ConfigError};

/// What a connection needs for TLS: the set-up, and the name to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// Sets TLS up when the address asks for it.
    pub(crate) fn new(
        address: &AgentAddress,
        config: &TlsConfig,
    ) -> Result<Option<Self>, ConfigError> {
        let AgentAddress::Tcp { host, tls: true, .. } = address else { return Ok(None) };
        let name = config.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| ConfigError::value("tls.server_name", name, "a DNS name or an address"))?;
        // Passed explicitly: a process-wide default may be another one, or none.
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::Tls(error.into()))?;
        let builder = if config.verify {
            builder.with_root_certificates(roots(config.ca.as_deref())?)
        } else {
            tracing::warn!("consul's certificate is not checked");
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        };
        let mut client = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates("tls.cert", cert)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable("tls.key", key, error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| ConfigError::Tls(error.into()))?
            }
            _ => builder.with_no_client_auth(),
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { config: Arc::new(client), name }))
    }
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("outrigger-consul needs one of the features `aws-lc-rs` (default) and `ring`");

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates("tls.ca", path)? {
            roots.add(certificate).map_err(|error| ConfigError::Pem {
                key: "tls.ca",
                path: path.into(),
                source: error.into(),
            })?;
        }
        return Ok(roots);
    }
    // Some of a system's certificates may be unreadable; those that are left decide.
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        let allowed = "a file, since the system has no certificates";
        return Err(ConfigError::value("tls.ca", "", allowed));
    }
    Ok(roots)
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = read.map_err(|error| unreadable(key, path, error))?;
    if list.is_empty() {
        return Err(unreadable(key, path, pem::Error::NoItemsFound));
    }
    Ok(list)
}

fn unreadable(key: &'static str, path: &Path, error: pem::Error) -> ConfigError {
    match error {
        pem::Error::Io(source) => ConfigError::File { key, path: path.into(), source },
        other => ConfigError::Pem { key, path: path.into(), source: other.into() },
    }
}

/// Believes whoever answers: `CONSUL_HTTP_SSL_VERIFY=false`.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
