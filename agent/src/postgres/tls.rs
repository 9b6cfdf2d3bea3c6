//! TLS towards PostgreSQL, by rustls: what libpq calls `require`, `verify-ca` and `verify-full`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::database::TlsMode;
use crate::config::file::{self, CERTIFICATES_BYTES_MAX, FileError};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("reading the certificates in {}", path.display())]
    Certificates { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("reading the certificates in {}", path.display())]
    Unreadable { path: PathBuf, source: FileError },
    #[error("{} holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("the operating system trusts no certificate; name a file with tls.ca")]
    NoRoots,
    #[error("setting up TLS")]
    Setup { source: rustls::Error },
    #[error("setting up the certificate check")]
    Verifier { source: rustls::server::VerifierBuilderError },
}

/// How to encrypt, or none for plain sessions. Reads the files anew at each call, so that renewed certificates count.
pub async fn connector(mode: TlsMode, ca: Option<&Path>) -> Result<Option<MakeRustlsConnect>, TlsError> {
    if mode == TlsMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(mode, ca, &provider).await?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(client)))
}

async fn verifier(mode: TlsMode, ca: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
    let inner = match mode {
        TlsMode::Disable | TlsMode::Require => None,
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca).await?), Arc::clone(provider)).build();
            Some(verifier.map_err(|source| TlsError::Verifier { source })?)
        }
    };
    Ok(Verifier { mode, inner, provider: Arc::clone(provider) })
}

async fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            let pem = file::read_aside(path, CERTIFICATES_BYTES_MAX).await.map_err(unreadable)?;
            let certificates = CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| TlsError::Certificates { path: path.to_owned(), source })?;
            roots.add_parsable_certificates(certificates);
            if roots.is_empty() {
                return Err(TlsError::NoCertificate { path: path.to_owned() });
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Ok(roots)
}

/// The usual check, less what the mode leaves out.
#[derive(Debug)]
struct Verifier {
    mode: TlsMode,
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain was checked before the name, so only the name is wrong here.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if self.mode == TlsMode::VerifyCa =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
