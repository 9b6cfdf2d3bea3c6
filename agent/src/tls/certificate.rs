//! Reads a server's certificate, and finds the fault of one that is not trusted.
//!
//! The library that checks certificates accepts less than OpenSSL does: no version 1, no authority as a server, no P-521 key. Its errors
//! help few people, so this file reads the certificate itself and names the cure.

use rustls::CertificateError;
use rustls::client::verify_server_name;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::Version;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

/// A fault of a server's certificate, with the way to correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    #[error(
        "the server's certificate was issued by `{issuer}`, which is not trusted; name the file of that authority's certificate in tls.ca"
    )]
    UnknownIssuer { issuer: String },
    #[error(
        "the server's certificate was issued by an authority `{issuer}` with another key than that in tls.ca; renew the file in tls.ca"
    )]
    OtherKey { issuer: String },
    #[error("the server's certificate `{subject}` is signed by itself; name the file of this very certificate in tls.ca to trust it")]
    SelfSigned { subject: String },
    #[error("the server's certificate expired at {not_after}; make a new one and reload the server")]
    Expired { not_after: String },
    #[error("the server's certificate is not valid before {not_before}; the clock of this host or of the authority's is wrong")]
    NotValidYet { not_before: String },
    #[error(
        "the server's certificate is not for `{expected}`, but for {presented}; use one of these names in the URL, make a certificate with \
         `subjectAltName = {alternative}`, or check only the authority with tls.mode = \"verify-ca\""
    )]
    WrongName { expected: String, presented: String, alternative: String },
    #[error(
        "the server's certificate `{subject}` has no subjectAltName, which is where the name must be; make one with \
         `subjectAltName = {alternative}`, or check only the authority with tls.mode = \"verify-ca\""
    )]
    NoAlternativeName { subject: String, alternative: String },
    #[error(
        "the server uses the certificate of an authority (CA:TRUE) as its own; make one for the server with `openssl x509 -req -CA ... -extfile` \
         and `basicConstraints = CA:FALSE`, or name the file of this very certificate in tls.ca to trust it"
    )]
    AuthorityAsServer,
    #[error(
        "the server's certificate is of version 1, which has no extensions; make one of version 3: `openssl x509 -req ... -extfile` with \
         `subjectAltName = {alternative}`"
    )]
    Version1 { alternative: String },
    #[error(
        "the key of the server's certificate is {key}, which Pharos cannot check; make one with an RSA key of 2048 bits or more, or with P-256"
    )]
    Key { key: String },
    #[error("the server's certificate cannot be read")]
    Unreadable,
    #[error("the server's certificate is not trusted: {0}")]
    Other(String),
}

impl CertificateProblem {
    /// Returns the problem because of which a handshake failed.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(problem))) => problem.downcast_ref::<Self>().cloned(),
            _ => None,
        }
    }
}

impl From<CertificateProblem> for rustls::Error {
    fn from(problem: CertificateProblem) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(problem))))
    }
}

/// A server's certificate of any version and with any key.
pub(super) struct Certificate(x509_cert::Certificate);

const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P_521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED_25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Fewest bytes of an RSA key with 2048 bits. A key of 1024 bits has far fewer.
const RSA_KEY_BYTES_MIN: usize = 260;

impl Certificate {
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateProblem> {
        x509_cert::Certificate::from_der(der).map(Self).map_err(|_| CertificateProblem::Unreadable)
    }

    fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        let extensions = self.0.tbs_certificate.extensions.iter().flatten();
        extensions.filter(|extension| extension.extn_id == id).map(|extension| extension.extn_value.as_bytes()).next()
    }

    /// Whether this is the certificate of an authority: BasicConstraints then begins with a boolean that is true.
    fn is_authority(&self) -> bool {
        self.extension(BASIC_CONSTRAINTS).is_some_and(|value| matches!(value, [0x30, _, 0x01, 0x01, is_true, ..] if *is_true != 0))
    }

    fn common_name(&self) -> Option<String> {
        let mut attributes = self.0.tbs_certificate.subject.0.iter().flat_map(|name| name.0.iter());
        let name = attributes.rfind(|attribute| attribute.oid == COMMON_NAME)?;
        std::str::from_utf8(name.value.value()).ok().map(ToOwned::to_owned)
    }

    /// Returns the fault of the key, if it has one.
    fn key_problem(&self) -> Option<CertificateProblem> {
        let info = &self.0.tbs_certificate.subject_public_key_info;
        let curve = || info.algorithm.parameters.as_ref().and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        let key = match info.algorithm.oid {
            RSA if info.subject_public_key.raw_bytes().len() < RSA_KEY_BYTES_MIN => "RSA of less than 2048 bits".to_owned(),
            RSA | ED_25519 => return None,
            RSA_PSS => "bound to RSA-PSS".to_owned(),
            ELLIPTIC_CURVE => match curve() {
                Some(P_256 | P_384) => return None,
                Some(P_521) => "on the curve P-521".to_owned(),
                Some(other) => format!("on the curve {other}"),
                None => "on a curve without a name".to_owned(),
            },
            other => format!("of the kind {other}"),
        };
        Some(CertificateProblem::Key { key })
    }

    /// Checks that signatures of the key can be verified.
    pub(super) fn check_key(&self) -> Result<(), CertificateProblem> {
        self.key_problem().map_or(Ok(()), Err)
    }

    /// Finds out why the certificate was not trusted, given the error of the library.
    pub(super) fn diagnose(&self, error: rustls::Error, expected: &ServerName<'_>) -> CertificateProblem {
        let tbs = &self.0.tbs_certificate;
        let alternative = alternative_name(expected);
        if tbs.issuer == tbs.subject {
            return CertificateProblem::SelfSigned { subject: tbs.subject.to_string() };
        }
        if tbs.version == Version::V1 {
            return CertificateProblem::Version1 { alternative };
        }
        let error = match error {
            rustls::Error::InvalidCertificate(error) => error,
            other => return CertificateProblem::Other(other.to_string()),
        };
        match error {
            CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer { issuer: tbs.issuer.to_string() },
            CertificateError::BadSignature => CertificateProblem::OtherKey { issuer: tbs.issuer.to_string() },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => self.expired(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => self.not_valid_yet(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                if self.extension(SUBJECT_ALTERNATIVE_NAME).is_none() =>
            {
                CertificateProblem::NoAlternativeName { subject: tbs.subject.to_string(), alternative }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                CertificateProblem::WrongName { expected: expected.to_str().into_owned(), presented: plain(&presented), alternative }
            }
            _ if self.is_authority() => CertificateProblem::AuthorityAsServer,
            other => self.key_problem().unwrap_or_else(|| CertificateProblem::Other(other.to_string())),
        }
    }

    fn expired(&self) -> CertificateProblem {
        CertificateProblem::Expired { not_after: self.0.tbs_certificate.validity.not_after.to_date_time().to_string() }
    }

    fn not_valid_yet(&self) -> CertificateProblem {
        CertificateProblem::NotValidYet { not_before: self.0.tbs_certificate.validity.not_before.to_date_time().to_string() }
    }

    /// Checks a certificate that is itself trusted: its time, its key, and its name if one is expected.
    pub(super) fn check_trusted(
        &self,
        der: &CertificateDer<'_>,
        expected: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), CertificateProblem> {
        let validity = &self.0.tbs_certificate.validity;
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(self.expired());
        }
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(self.not_valid_yet());
        }
        self.check_key()?;
        expected.map_or(Ok(()), |expected| self.check_name(der, expected))
    }

    /// Checks the name. Without an alternative name the common name counts, as with libpq.
    fn check_name(&self, der: &CertificateDer<'_>, expected: &ServerName<'_>) -> Result<(), CertificateProblem> {
        if self.extension(SUBJECT_ALTERNATIVE_NAME).is_some() {
            let parsed = ParsedCertificate::try_from(der).map_err(|error| self.diagnose(error, expected))?;
            return verify_server_name(&parsed, expected).map_err(|error| self.diagnose(error, expected));
        }
        let name = self.common_name();
        if name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&expected.to_str())) {
            return Ok(());
        }
        let presented = name.unwrap_or_else(|| "no name".to_owned());
        Err(CertificateProblem::WrongName { expected: expected.to_str().into_owned(), presented, alternative: alternative_name(expected) })
    }

    /// Checks that the server has the private key of its certificate. Returns nothing if signatures of this kind of key cannot be verified.
    pub(super) fn verify_signature(
        &self,
        message: &[u8],
        signature: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Option<Result<(), rustls::Error>> {
        let info = &self.0.tbs_certificate.subject_public_key_info;
        let algorithm = info.algorithm.to_der().ok()?;
        // The content of the sequence without its header, which is how the algorithms name their keys.
        let algorithm = algorithm.get(2..)?;
        let of_scheme = |scheme: SignatureScheme| algorithms.mapping.iter().filter(move |(mapped, _)| *mapped == scheme);
        let mut fitting = of_scheme(signature.scheme).flat_map(|(_, algorithms)| algorithms.iter());
        let fitting = fitting.find(|candidate| candidate.public_key_alg_id().as_ref() == algorithm)?;
        let verified = fitting.verify_signature(info.subject_public_key.raw_bytes(), message, signature.signature());
        Some(verified.map_err(|_| CertificateError::BadSignature.into()))
    }
}

/// Returns the entry that a certificate for this name must have.
fn alternative_name(name: &ServerName<'_>) -> String {
    let kind = if matches!(name, ServerName::IpAddress(_)) { "IP" } else { "DNS" };
    format!("{kind}:{}", name.to_str())
}

/// Extracts the names from the text of the library: `DnsName("db1")`.
fn plain(presented: &[String]) -> String {
    presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect::<Vec<_>>().join(", ")
}
