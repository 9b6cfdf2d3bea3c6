//! TLS to the monitored servers, with rustls: the modes that libpq calls `require`, `verify-ca` and `verify-full`.
//!
//! `require` accepts every certificate. In the other modes a certificate that is itself in `tls.ca` is trusted, and every other one needs a
//! chain that rustls accepts. Signature schemes that rustls cannot check are offered to the server all the same. Without them it would end
//! the handshake without a reason, and its certificate would not be known.

mod certificate;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use self::certificate::Certificate;
pub(crate) use self::certificate::CertificateProblem;
use crate::config::database::TlsMode;
use crate::config::file::{self, CERTIFICATES_BYTES_MAX, FileError, SECRET_BYTES_MAX};

/// Why TLS could not be prepared.
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
    #[error("reading the key in {}", path.display())]
    UnreadableKey { path: PathBuf, source: FileError },
    #[error("{} holds no private key in PEM that is not encrypted", path.display())]
    NoKey { path: PathBuf },
    #[error("{files} do not belong together, or are of a kind that Pharos cannot use")]
    Identity { files: String, source: rustls::Error },
    #[error("setting up TLS")]
    Setup { source: rustls::Error },
    #[error("setting up the certificate check")]
    Verifier { source: rustls::server::VerifierBuilderError },
}

impl TlsError {
    /// Returns the error of the file, if a file could not be read.
    pub fn of_file(&self) -> Option<&FileError> {
        match self {
            Self::Unreadable { source, .. } | Self::UnreadableKey { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The certificate and key of the agent, for servers that require one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
}

/// Makes the TLS settings of a connection. Reads the files at each call, so that renewed certificates are used.
pub(crate) async fn client(mode: TlsMode, ca: Option<&Path>, identity: Option<Identity<'_>>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(mode, ca, &provider).await?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = (certificates(identity.certificate).await?, key(identity.key).await?);
    builder.with_client_auth_cert(chain, key).map_err(|source| {
        let files = format!("the certificate in {} and the key in {}", identity.certificate.display(), identity.key.display());
        TlsError::Identity { files, source }
    })
}

/// Returns the TLS error, if TLS is the reason why a connection failed.
pub(crate) fn error_of(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

async fn verifier(mode: TlsMode, ca: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
    let (inner, trusted) = match mode {
        TlsMode::Disable | TlsMode::Require => (None, Vec::new()),
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            let (roots, trusted) = roots(ca).await?;
            let build = |roots| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            let verifier = (!roots.is_empty()).then(|| build(roots)).transpose();
            (verifier.map_err(|source| TlsError::Verifier { source })?, trusted)
        }
    };
    Ok(Verifier { mode, inner, trusted, provider: Arc::clone(provider) })
}

/// Returns the trusted authorities, and the certificates in `tls.ca`, which may include that of a server.
async fn roots(ca: Option<&Path>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok((roots, Vec::new())) };
    };
    let certificates = certificates(path).await?;
    // A certificate that is no authority is still trusted as the certificate of a server.
    roots.add_parsable_certificates(certificates.iter().cloned());
    Ok((roots, certificates))
}

/// Reads the certificates of a file, which must have at least one.
pub(crate) async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    let pem = file::read_on_own_thread(path, CERTIFICATES_BYTES_MAX).await.map_err(unreadable)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Certificates { path: path.to_owned(), source })?;
    if certificates.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(certificates) }
}

async fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unreadable = |source| TlsError::UnreadableKey { path: path.to_owned(), source };
    let pem = file::read_on_own_thread(path, SECRET_BYTES_MAX).await.map_err(unreadable)?;
    // The error of the library could repeat the content of the file, so it is dropped.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

/// Checks certificates as far as the mode requires.
#[derive(Debug)]
struct Verifier {
    mode: TlsMode,
    /// The check of chains, if any authority is trusted.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates of servers that are trusted without an authority.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// Schemes of keys that cannot be checked: P-521, Ed448, and keys that are bound to RSA-PSS with SHA-256, 384 and 512.
const UNCHECKED: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
];

impl Verifier {
    /// Checks the signature of the server. With `require`, a key that cannot be checked is accepted: any certificate is accepted there, so
    /// a signature proves nothing.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = match Certificate::read(certificate) {
            Ok(certificate) => certificate.verify_signature(message, signature, algorithms),
            Err(_) => None,
        };
        match verified {
            Some(verified) => verified.map(|()| HandshakeSignatureValid::assertion()),
            None if self.mode == TlsMode::Require => Ok(HandshakeSignatureValid::assertion()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }
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
        if self.mode == TlsMode::Require {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = Certificate::read(end_entity)?;
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            let expected = (self.mode == TlsMode::VerifyFull).then_some(server_name);
            return certificate.check_trusted(end_entity, expected, now).map(|()| ServerCertVerified::assertion()).map_err(Into::into);
        }
        let verdict = match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verdict {
            // The chain was checked before the name, so only the name is wrong here.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if self.mode == TlsMode::VerifyCa =>
            {
                certificate.check_key()?;
                Ok(ServerCertVerified::assertion())
            }
            Ok(verified) => certificate.check_key().map(|()| verified).map_err(Into::into),
            Err(error) => Err(certificate.diagnose(error, server_name).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        schemes.extend(UNCHECKED);
        schemes
    }
}
