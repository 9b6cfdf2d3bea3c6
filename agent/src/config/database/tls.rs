//! `tls` of a `[[database]]`: the mode of encryption, its default, and the trusted certificates.

use std::path::PathBuf;

use serde::Deserialize;

use super::PostgresAddress;
use crate::config::shape::{Shape, key};

/// Encryption of a session, and the authorities that it trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The mode of encryption. `None`: `disable` on loopback and Unix sockets, and `verify-full` elsewhere.
    pub mode: Option<TlsMode>,
    /// The PEM file of the certificates to trust. `None`: the certificates of the operating system.
    pub ca: Option<PathBuf>,
}

impl TlsConfig {
    /// The effective mode for a server. Traffic on loopback and Unix sockets cannot be intercepted; other traffic can.
    pub fn mode_towards(&self, address: &PostgresAddress) -> TlsMode {
        let default = if address.is_local() { TlsMode::Disable } else { TlsMode::VerifyFull };
        self.mode.unwrap_or(default)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    Disable,
    /// Encrypted without verification of the certificate.
    Require,
    /// The certificate must come from a trusted authority. Its name is not checked.
    VerifyCa,
    /// The certificate must come from a trusted authority and name the host.
    VerifyFull,
}

pub(super) const SHAPE: Shape =
    Shape::Table(&[key("mode", Shape::OneOf(&["disable", "require", "verify-ca", "verify-full"])), key("ca", Shape::Text)]);
