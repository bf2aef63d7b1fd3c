//! Names of which a certificate must bear one.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::EndEntityCert;

use super::TlsError;

/// A name that a certificate may bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum San {
    /// A DNS name or an IP address.
    Name(ServerName<'static>),
    /// A URI, compared to the letter.
    Uri(Box<str>),
}

impl San {
    pub(super) fn new(text: &str) -> Result<Self, TlsError> {
        if text.contains("://") || text.starts_with("urn:") {
            return Ok(Self::Uri(text.into()));
        }
        let name = ServerName::try_from(text.to_owned());
        name.map(Self::Name).map_err(|_| TlsError::San { name: text.to_owned() })
    }

    fn is_borne_by(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Self::Name(name) => ParsedCertificate::try_from(certificate)
                .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok()),
            Self::Uri(uri) => EndEntityCert::try_from(certificate)
                .is_ok_and(|certificate| certificate.valid_uri_names().any(|name| name == &**uri)),
        }
    }
}

/// Verifies a chain as ever, and then that the certificate bears one of some names, rather than the
/// name that is called.
#[derive(Debug)]
pub(super) struct BearsOneOf {
    /// What verifies signatures of the handshake.
    webpki: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    sans: Vec<San>,
}

impl BearsOneOf {
    pub(super) fn new(
        roots: RootCertStore,
        sans: Vec<San>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let roots = Arc::new(roots);
        let algorithms = provider.signature_verification_algorithms.all;
        let provider = Arc::clone(provider);
        // What it says of the roots is that there are none.
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider)
            .build()
            .map_err(|_| TlsError::Pem { what: "the CA certificate", source: None })?;
        Ok(Self { webpki, roots, algorithms, sans })
    }
}

impl ServerCertVerifier for BearsOneOf {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _called: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let (roots, algorithms) = (&self.roots, self.algorithms);
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        if self.sans.iter().any(|san| san.is_borne_by(certificate)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
